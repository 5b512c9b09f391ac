"""Picture files: read, write, masks, metadata. Knows no models."""
