"""The worker processes and their supervisor."""
