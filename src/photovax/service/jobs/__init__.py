"""The table of jobs and the databases that can hold it."""
