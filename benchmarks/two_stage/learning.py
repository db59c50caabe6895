"""What learning of both stages gains on test queries that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes import Collection, cached_vectors
from benchmarks.say import say
from benchmarks.two_stage.records import Learned
from sparseret import kernels
from sparseret.encoders.dense_text import DenseText
from sparseret.indexers.quantiser import Quantiser
from sparseret.indexers.quantiser_fit import fit_quantiser
from sparseret.readers import read_documents
from sparseret.train.two_stage import TwoStageSettings, train_adapter, train_quantiser

__all__ = ["adapters", "learned_codes"]

_CODES = (("binary", 12), ("binary", 24), ("pq", 12), ("pq", 24))
_CANDIDATES = (10, 30, 100)
_ADAPTER = TwoStageSettings(learning_rate=3e-4, steps=300)

Rows = NDArray[np.float32]


def learned_codes(collections: Sequence[Collection], dense: DenseText) -> tuple[Learned, ...]:
    """Quantisers of the documents of all collections, fitted and learned from their titles."""
    documents = np.concatenate([c.documents for c in collections])
    queries = np.concatenate([c.queries for c in collections])
    titles, owners = _titles(collections, dense)
    truth = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    found = []
    for kind, code_bytes in _CODES:
        say(f"learning {kind} codes of {code_bytes} bytes")
        start = fit_quantiser(kind, code_bytes, documents)  # type: ignore[arg-type]
        learned = train_quantiser(start, titles, documents, owners)
        shares = [_shares(q, documents, queries, truth) for q in (start, learned)]
        found += [
            Learned(f"{kind}, {code_bytes} bytes", n, *pair)
            for n, *pair in zip(_CANDIDATES, *shares, strict=True)
        ]
    return tuple(found)


def adapters(
    collections: Sequence[Collection], dense: DenseText
) -> tuple[tuple[str, float, float], ...]:
    """nDCG@10 of each collection's queries, as they are and adapted."""
    made = []
    for c in collections:
        titles, owners = _titles([c], dense)
        adapter = train_adapter(titles, c.documents, owners, _ADAPTER)
        before, after = c.queries @ c.documents.T, (c.queries @ adapter) @ c.documents.T
        made.append((c.name, c.rate(before), c.rate(after)))
        say(f"{c.name}: {made[-1][1]:.4f}, adapted {made[-1][2]:.4f}")
    return tuple(made)


def _titles(collections: Sequence[Collection], dense: DenseText) -> tuple[Rows, NDArray[np.int64]]:
    vectors, owners, first = [], [], 0
    for c in collections:
        found = [record.document.title for record in read_documents(c.dataset.corpus)]
        places = [place for place, title in enumerate(found) if title.strip()]
        vectors.append(cached_vectors(c.name, "titles", dense, [found[p] for p in places]))
        owners.append(np.asarray(places) + first)
        first += len(found)
    return np.concatenate(vectors), np.concatenate(owners)


def _shares(
    quantiser: Quantiser, documents: Rows, queries: Rows, truth: NDArray[np.int64]
) -> list[float]:
    codes, factors = quantiser.encode(documents)
    hits = np.zeros(len(_CANDIDATES))
    for query, nearest in zip(queries, truth, strict=True):
        scores = kernels.code_scores(codes, quantiser.table(query)[None])[0]
        if factors is not None:
            scores *= factors
        order = np.argsort(-scores, kind="stable")
        hits += [np.isin(nearest, order[:n]).mean() for n in _CANDIDATES]
    return (hits / len(queries)).tolist()
