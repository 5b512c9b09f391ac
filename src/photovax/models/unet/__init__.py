"""Editors whose denoiser is a U-Net, and their prompts, guidance and schedules."""
