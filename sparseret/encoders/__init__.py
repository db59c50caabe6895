"""Encoders, one file a method; ``sparseret.registry`` knows them by name."""
