"""Batches of photos."""
