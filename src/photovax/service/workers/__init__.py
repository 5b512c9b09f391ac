"""The processes that do the work, and what watches them."""
