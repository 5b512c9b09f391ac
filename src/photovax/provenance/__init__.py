"""C2PA manifests: signed words on a saved photo, kept in its file beside the pixels."""
