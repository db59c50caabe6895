"""Indexes and their storage; ``inverted.py`` is the one to read first."""
