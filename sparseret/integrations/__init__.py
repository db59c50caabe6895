"""Adapters to frameworks of others, one file each; a framework is an extra of its name."""
