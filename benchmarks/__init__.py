"""Reproducible comparisons of sparseret with its peers; README.md says how to run them."""
