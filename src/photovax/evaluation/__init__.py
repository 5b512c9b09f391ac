"""Evaluations: edits of immunized photos compared with edits of the originals."""
