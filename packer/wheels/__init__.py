"""Wheels: what is required, locked, fetched."""
