"""Denoisers that are transformers (flow models), and their prompts."""
