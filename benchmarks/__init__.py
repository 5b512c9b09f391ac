"""Measurements through the public interface; each prints hardware, versions and figures."""
