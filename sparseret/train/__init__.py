"""Training of encoders on pairs of query and document."""
