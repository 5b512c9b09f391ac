"""Picture files: reading, writing, masks and metadata."""
