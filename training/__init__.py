"""Training of the embedded models. Not part of the installed package."""
