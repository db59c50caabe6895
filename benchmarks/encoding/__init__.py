"""Texts to SPLADE vectors: documents a second and memory, with sentence-transformers beside."""
