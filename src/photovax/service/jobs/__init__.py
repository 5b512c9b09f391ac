"""The table of jobs, and the databases it may lie in."""
