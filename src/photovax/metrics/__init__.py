"""Measuring: is the photo still itself, and is the model thrown off."""
