"""Comparison of engines for sparse vectors, exact and approximate: ``run.py``."""
