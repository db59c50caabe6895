"""A corpus of vectors in an index of sparseret, built for one run by the code under test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.corpora import DATA
from benchmarks.vectors.corpora import VectorCorpus
from sparseret.documents import Document
from sparseret.indexers.inverted import InvertedIndex

__all__ = ["POSITION", "fresh_index"]

POSITION = "position"
"""The metadata field that holds the number of a document, where documents have one."""


@contextmanager
def fresh_index(
    corpus: VectorCorpus, purpose: str, *, positions: bool = False
) -> Iterator[InvertedIndex]:
    """An index of the whole corpus, merged and opened again; it is removed afterwards.

    Document i has the id ``str(i)``.

    Args:
        corpus: the documents.
        purpose: begins the name of the folder.
        positions: whether documents have the metadata field POSITION, with an SQL index for it.
    """
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DATA, prefix=f"{purpose}-") as scratch:
        folder = Path(scratch, "index")
        fields = [POSITION] if positions else []
        with InvertedIndex.create(
            folder, dim=corpus.n_columns, signed=False, filter_fields=fields
        ) as index:
            first = 0
            for rows in corpus.chunks():
                numbers = range(first, first + rows.shape[0])
                ids = [str(i) for i in numbers]
                documents = [Document(str(i), metadata={POSITION: i}) for i in numbers]
                index.add(ids, rows, documents=documents if positions else None)
                first = numbers.stop
            index.commit()
            index.merge()
        opened = InvertedIndex.open(folder)
        try:
            yield opened
        finally:
            opened.close()
