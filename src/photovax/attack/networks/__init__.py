"""Perturbation networks: estimates of an immunizing change in one pass."""
