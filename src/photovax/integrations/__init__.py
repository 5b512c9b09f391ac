"""photovax inside other programs."""
