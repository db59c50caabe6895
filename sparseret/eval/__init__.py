"""Evaluation: how good a retriever is on a dataset, how fast, and whether a difference is luck.

Start with ``datasets.load_dataset`` and ``evaluate.evaluate``. ``runs`` reads and writes TREC run
files, ``measures`` rates them, ``significance`` compares two of them.
"""
