"""The models that photovax knows by name, and where their weights lie."""
