"""Recall of nearest neighbours by codes: sparse expansion beside random hyperplanes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from benchmarks.markdown import table
from sparseret.encoders.expansion_hashing import ExpansionHashing
from sparseret.encoders.signed_projection import SignedProjection
from sparseret.protocols import Codec

__all__ = ["HashRecall", "hash_lines", "measure_hashes"]

_FEATURES, _UNITS, _NEAREST = 100, 2000, 10
_BITS = 11
"""What the number of one of ``_UNITS`` takes."""


@dataclass(frozen=True)
class HashRecall:
    """One kind of code."""

    method: str
    corpus: str
    vectors: int
    length: int
    """Winners, or bits of hyperplanes."""
    stored_bits: int
    recall: float


def measure_hashes(texts: Any, corpus: str) -> list[HashRecall]:
    """Of the nearest texts, those that codes find; in order of the length.

    Args:
        texts: BM25 vectors.
        corpus: their name.
    """
    left, strengths, _ = svds(
        texts.astype(np.float64), k=_FEATURES, v0=np.ones(min(texts.shape)), solver="arpack"
    )
    dense = (left * strengths).astype(np.float32)
    dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-9)
    truth = _nearest(dense @ dense.T)
    return [
        HashRecall(method, corpus, len(dense), length, bits, _recall(_nearest(scores), truth))
        for length in (16, 32, 64)
        for method, bits, scores in _codes(dense, length)
    ]


def _codes(dense: NDArray[np.float32], length: int) -> Iterator[tuple[str, int, Any]]:
    """Method, bits stored, and the similarity of all pairs."""
    codecs: dict[str, Codec] = {
        "expansion hashing": ExpansionHashing(_FEATURES, dim=_UNITS, winners=length),
        "expansion hashing, sums": ExpansionHashing(
            _FEATURES, dim=_UNITS, winners=length, values="sums"
        ),
        "signed projection": SignedProjection(_FEATURES, dim=_UNITS, active=length),
    }
    for name, codec in codecs.items():
        codes = codec.transform(dense)
        # Of sums and signed components values are stored, too, as 32-bit numbers.
        bits = length * (_BITS if name == "expansion hashing" else _BITS + 32)
        yield name, bits, (codes @ codes.T).toarray()
    for n in (length, length * _BITS):
        normals = np.random.default_rng(n).standard_normal((_FEATURES, n))
        signs = np.sign(dense @ normals.astype(np.float32))
        yield "random hyperplanes", n, signs @ signs.T


def _nearest(similarity: Any) -> NDArray[np.int64]:
    others = np.array(similarity, np.float64)
    np.fill_diagonal(others, -np.inf)
    return np.argsort(-others, axis=1, kind="stable")[:, :_NEAREST]


def _recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    shared = [len(set(a) & set(b)) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]
    return float(np.mean(shared)) / _NEAREST


def hash_lines(hashes: Sequence[HashRecall]) -> list[str]:
    """As Markdown."""
    rows = [[h.method, str(h.length), str(h.stored_bits), f"{h.recall:.3f}"] for h in hashes]
    return [
        f"Nearest neighbours of {hashes[0].vectors:,} dense vectors ({_FEATURES} components of a "
        f"truncated SVD of the BM25 vectors of {hashes[0].corpus}, of length 1): share of the true "
        f"{_NEAREST} nearest by cosine among the {_NEAREST} nearest by codes of {_UNITS:,} units. "
        "The length of a hash is that of the winners, or of the bits of hyperplanes; the number of "
        f"a winner is stored in {_BITS} bits, a value in 32.",
        "",
        *table(["method", "length", "stored bits", f"recall@{_NEAREST}"], rows),
    ]
