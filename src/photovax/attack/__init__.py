"""The attack: budgets, recipes, objectives, and projected gradient descent on their losses."""
