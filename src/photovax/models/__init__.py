"""Surrogate models: the only room that knows diffusers, [-1, 1] and scaling factors."""
