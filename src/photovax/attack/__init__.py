"""The attack: budgets, recipes, objectives, and the descent that lowers their loss."""
