"""The paper's experiments: edits of immunized photos against edits of the originals."""
