"""Certificates of immunity: content, signature, verification, renewal."""
