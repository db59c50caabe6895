"""Postings of another engine put into an index: a list a term becomes a row a document."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import ConfigurationError
from sparseret.exchange.leg import REST_OF_LENGTH, Values
from sparseret.exchange.new_index import NewIndex
from sparseret.exchange.transpose import Scatter
from sparseret.protocols import TermWeights

__all__ = ["Lists", "Postings", "add_postings", "default_encoder"]

_BATCH = 1000
_TERMS = 10_000

Lists = Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Of each term, in order, rows of its documents, ascending, and their values, from 1."""


class Postings(NamedTuple):
    """What is known of postings before they are read again."""

    name: str
    """Of the file, for messages."""
    terms: list[str]
    """Distinct."""
    sizes: NDArray[np.int64]
    """Terms of each document, shape (n,)."""
    sums: NDArray[np.int64]
    """Of the values of each document, shape (n,)."""
    documents: list[Document]
    lengths: NDArray[np.int64]
    """Terms of each document, repetitions included, whether they have postings or not."""


def default_encoder(values: Values) -> tuple[str, dict[str, str]]:
    """Name and options of what reads queries for postings of others."""
    # Anserini's analyzer, unless told otherwise, stems as Porter did.
    return ("bm25", {"language": "porter"}) if values == "counts" else ("terms", {})


def add_postings(
    index: NewIndex,
    postings: Postings,
    lists: Lists,
    scratch: Path,
    *,
    values: Values,
    scale: float = 1.0,
) -> int:
    """Add the documents of postings, in stretches of rows that are gathered on disk.

    Args:
        index: an empty one.
        postings: what a first reading found.
        lists: the second reading.
        scratch: folder for files of 8 bytes a posting.
        values: what the numbers are.
        scale: they are divided by it.

    Returns:
        the number of documents whose length is below the sum of their counts, which then is their
        length.

    Raises:
        ConfigurationError: weights for an encoder that makes them of counts.
        VectorError: a term that the encoder does not have.
    """
    counts = isinstance(index.encoder, TermWeights)
    if counts and values == "weights":
        raise ConfigurationError(
            f"{postings.name} holds weights, and {index.encoder.name} makes its own of counts: "
            "leave --encoder out, or give that which made them"
        )
    scatter = Scatter(scratch, postings.sizes)
    for number, (rows, numbers) in enumerate(lists):
        scatter.put_one_each(rows, number, numbers)
    stretches = range(0, len(postings.terms), _TERMS)
    columns = [index.columns(postings.terms[begin : begin + _TERMS]) for begin in stretches]
    column_of = np.concatenate([np.empty(0, np.int32), *columns])
    rest = postings.lengths - postings.sums
    rest *= counts
    filler = int(index.columns([REST_OF_LENGTH])[0]) if (rest > 0).any() else -1
    for begin in range(0, len(postings.documents), _BATCH):
        ptr = scatter.ptr[begin : begin + _BATCH + 1]
        inside = slice(int(ptr[0]), int(ptr[-1]))
        found = column_of[scatter.items[inside]]
        weights = (scatter.values[inside].astype(np.float64) / scale).astype(np.float32)
        ptr = ptr - ptr[0]
        more = rest[begin : begin + _BATCH]
        longer = np.flatnonzero(more > 0)
        if len(longer):
            ends = ptr[longer + 1]
            found = np.insert(found, ends, filler)
            weights = np.insert(weights, ends, more[longer].astype(np.float32))
            ptr = ptr + np.concatenate(([0], np.cumsum(more > 0)))
        index.add(postings.documents[begin : begin + _BATCH], ptr, found, weights)
    return int((rest < 0).sum())
