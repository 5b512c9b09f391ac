"""Transformers trained by flow matching: denoisers and prompts."""
