"""Editors with a U-Net: edits, prompts, guidance and schedules."""
