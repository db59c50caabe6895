"""Comparison of lexical engines, from strings and from term counts: ``run.py``."""
