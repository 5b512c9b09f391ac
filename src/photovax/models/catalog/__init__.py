"""The models that photovax knows by name, and the places of their weights."""
