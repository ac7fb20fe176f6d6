"""Merged weights, checked against base and adapter."""
