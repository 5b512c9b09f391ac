"""Certificates of immunity: what they say, who signed them, what they cover, renewal."""
