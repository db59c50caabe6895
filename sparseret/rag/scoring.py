"""How well texts that are in no index fit a question, by the encoders of one that is.

Of several legs, the scores are fused as those of documents are. Under an encoder of counts, such as
BM25, a text has the weights it would have in a collection of these texts alone, but for the rarity
of terms, which is that in the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret import vectors as vector_checks
from sparseret.errors import VectorError
from sparseret.indexers.dense_exact import as_rows, exact_scores, normalised
from sparseret.indexers.fusion import Fusion, Leg, fuse
from sparseret.protocols import CollectionEncoder, TermWeights
from sparseret.views.dense import DenseView
from sparseret.views.sparse import SparseView
from sparseret.views.view import View

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["text_scores"]


def text_scores(view: View, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Scores of texts, larger is better, shape (len(texts),); 0 where they share nothing.

    Raises:
        VectorError: an encoder makes something else than one vector a text.
    """
    if not texts:
        return np.zeros(0)
    scores = [
        _dense(leg, question, texts)
        if isinstance(leg, DenseView)
        else _sparse(leg, question, texts)
        for leg in view.legs
    ]
    if len(scores) == 1:
        return scores[0]
    legs = [_ranked(of_leg, leg.lower_bound) for leg, of_leg in zip(view.legs, scores, strict=True)]
    fused = fuse(_fusion(view), legs, len(texts))
    made = np.zeros(len(texts))
    made[fused.numbers] = fused.scores
    return made


def _fusion(view: View) -> Fusion:
    """That of the index, with the weights of the legs that are there."""
    weights = view.fusion.weights
    if weights is None or len(weights) == len(view.legs):
        return view.fusion
    kept = tuple(weights[view.names.index(leg.name)] for leg in view.legs)
    return replace(view.fusion, weights=kept if any(kept) else None)


def _ranked(scores: NDArray[np.float64], lower_bound: float | None) -> Leg:
    order = np.argsort(-scores, kind="stable")
    found = order[scores[order] != 0]
    return Leg(found.astype(np.int64), scores[found], lower_bound)


def _dense(leg: DenseView, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
    encoder = leg.encoder
    query = leg.encode_queries([question])
    rows = as_rows(encoder.encode_documents(texts), encoder.dim, f"texts of {encoder.name!r}")
    _check_count(encoder.name, len(rows), texts)
    if encoder.metric == "cosine":
        query, rows = normalised(query), normalised(rows)
    return exact_scores(rows, np.arange(len(rows)), query[0]).astype(np.float64)


def _sparse(leg: SparseView, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
    encoder = leg.encoder
    query = leg.encode_queries([question])
    if isinstance(encoder, CollectionEncoder) and isinstance(encoder, TermWeights):
        rows = _weighed(encoder, encoder, leg.encode_queries(texts))
    else:
        rows = vector_checks.check(encoder.encode_documents(texts), dim=encoder.dim)
    _check_count(encoder.name, rows.shape[0], texts)
    wide = np.zeros(rows.shape[1])
    wide[query.indices] = query.data
    scores: NDArray[np.float64] = rows.astype(np.float64) @ wide
    return scores


def _weighed(encoder: CollectionEncoder, terms: TermWeights, rows: csr_array) -> csr_array:
    """Weights of documents, of rows as queries have them: what is unknown to the index is left
    out, as reading must add no terms to it.
    """
    counts = np.rint(rows.data / terms.term_weights(rows.indices)).astype(np.float32)
    row_of = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    lengths = np.bincount(row_of, weights=counts, minlength=rows.shape[0])
    weighed = rows.copy()
    weighed.data = encoder.weigh(counts, lengths.astype(np.float32)[row_of], float(lengths.mean()))
    return weighed


def _check_count(name: str, made: int, texts: Sequence[str]) -> None:
    if made != len(texts):
        raise VectorError(f"the encoder {name!r} made {made} vectors of {len(texts)} texts")
