"""Training of networks that immunize in one pass."""
