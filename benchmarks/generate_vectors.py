"""Made-up vectors like those of SPLADE on MS MARCO: the same on every machine, made in chunks.

A term-frequency model with log-saturated weights::

    weight(t, d) = min(3, log(1 + count(t, d)**1.3 * exp(0.8 * noise - 0.7)))

``count`` is how often term t was drawn for document d. A document has a main topic, a side topic
and a subject of its main topic: there are 400 topics of 500 terms, with 16 subjects of 20 terms
each, and popularities follow Zipf-Mandelbrot. About 35 draws come from the subject, 40 from the
main topic, 10 from the side topic and 62 from all terms, where popularity is ``1 / (rank + 12)``.
So documents on one subject share their strong terms and how strong these are, and every document
has a long tail of weak terms. A query is a document of the corpus seen through noise: 18 of its
terms, the strong ones likelier, and 23 others of its subject, its topics or all terms.

Measured at the default seed, 1M documents: 118.4 values a document (1st to 99th percentile 63 to
182) with median 0.44 and mean 0.55; 41.0 values a query with median 0.52; 1.61M postings a query;
the most frequent term is in 47% of the documents, the 100th in 6.8%, the 1,000th in 1.7%. The 2nd,
10th, 100th and 1,000th best scores of a query are 76, 61, 40 and 22% of the best.

The chunk of documents ``c * CHUNK`` to ``(c + 1) * CHUNK`` depends on the seed and c alone, so that
a smaller corpus holds the first documents of a larger one, and any size can be streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHUNK", "VOCABULARY", "document_chunk", "documents", "queries"]

VOCABULARY = 30_522
CHUNK = 1 << 16
"""Documents a chunk."""

_SEED = 20_260
_BLOCK = 1 << 12  # documents made at once: their draws stay in the cache
_TOPICS, _TOPIC_TERMS, _TOPIC_SLOTS = 400, 500, 1 << 12
_SUBJECTS, _SUBJECT_TERMS, _SUBJECT_SLOTS = 16, 20, 1 << 6
_ALL_SLOTS = 1 << 18
_MOST_DRAWS = (56, 64, 16, 100)  # of subject, main topic, side topic, all terms
_NO_TERM = VOCABULARY  # sorts behind all terms
_QUERY_CHUNKS = 32
_OWN_TERMS, _OTHER_TERMS = 18, 23


class _Model(NamedTuple):
    """Distributions as tables of equally likely slots, each of which names a term."""

    subjects: NDArray[np.int32]
    """Shape (topics * subjects, slots)."""
    topics: NDArray[np.int32]
    """Shape (topics, slots)."""
    all_terms: NDArray[np.int32]
    """Shape (slots,)."""
    topic_cumulative: NDArray[np.float64]
    subject_cumulative: NDArray[np.float64]


def documents(n_documents: int, seed: int = _SEED) -> Iterator[csr_array]:
    """The corpus chunk by chunk: float32, int32 sorted columns, shape (<= CHUNK, VOCABULARY)."""
    for first in range(0, n_documents, CHUNK):
        yield _first_of_chunk(first // CHUNK, min(CHUNK, n_documents - first), seed)


def document_chunk(chunk: int, seed: int = _SEED) -> csr_array:
    """One chunk of CHUNK documents: float32, int32 sorted columns, every row has values."""
    return _first_of_chunk(chunk, CHUNK, seed)


def _first_of_chunk(chunk: int, n_documents: int, seed: int) -> csr_array:
    n_blocks = -(-n_documents // _BLOCK)
    made = _stack([_block(seed, chunk, block)[0] for block in range(n_blocks)])
    return made if n_documents == made.shape[0] else made[:n_documents]


def queries(n_documents: int, n_queries: int, seed: int = _SEED) -> csr_array:
    """Queries to the corpus of ``n_documents``: float32, shape (n_queries, VOCABULARY).

    They are of documents all over the corpus, or of 32 chunks if it has more: those are made again.
    """
    rng = np.random.default_rng([seed, 3, n_documents])
    n_chunks = -(-n_documents // CHUNK)
    of_chunk = rng.permutation(n_chunks)[:_QUERY_CHUNKS]
    chunk = of_chunk[rng.integers(len(of_chunk), size=n_queries)]
    place = rng.integers(np.minimum(CHUNK, n_documents - chunk * CHUNK))
    blocks = np.stack((chunk, place // _BLOCK), axis=1)
    made = []
    for c, b in np.unique(blocks, axis=0).tolist():
        rows, origins = _block(seed, c, b)
        chosen = place[(blocks == (c, b)).all(axis=1)] % _BLOCK
        made += [_query(rng, _model(seed), rows, row, origins[row]) for row in chosen.tolist()]
    order = rng.permutation(n_queries)
    return _stack([made[i] for i in order.tolist()])


@cache
def _model(seed: int) -> _Model:
    rng = np.random.default_rng([seed, 1])
    term_of_rank = rng.permutation(VOCABULARY).astype(np.int32)
    # The most frequent terms belong to no topic; otherwise popular ones are in more topics.
    own = 1 / (np.arange(200, VOCABULARY) + 35.0) ** 0.75
    own /= own.sum()
    topic_terms = np.stack(
        [200 + rng.choice(len(own), _TOPIC_TERMS, replace=False, p=own) for _ in range(_TOPICS)]
    )
    # A subject's terms are mostly of its topic; the others make it unlike its neighbours.
    places = rng.permuted(np.tile(np.arange(_TOPIC_TERMS), (_TOPICS * _SUBJECTS, 1)), axis=1)
    subject_terms = np.take_along_axis(
        np.repeat(topic_terms, _SUBJECTS, axis=0), places[:, :_SUBJECT_TERMS], axis=1
    )
    foreign = rng.random(subject_terms.shape) < 0.35
    subject_terms[foreign] = 200 + rng.choice(len(own), int(foreign.sum()), p=own)
    subjects = subject_terms[:, _slots(_SUBJECT_TERMS, 3.0, _SUBJECT_SLOTS)]
    topics = topic_terms[:, _slots(_TOPIC_TERMS, 10.0, _TOPIC_SLOTS)]
    return _Model(
        np.ascontiguousarray(term_of_rank[subjects]),
        np.ascontiguousarray(term_of_rank[topics]),
        term_of_rank[_slots(VOCABULARY, 12.0, _ALL_SLOTS)],
        _zipf(_TOPICS, 30.0),
        _zipf(_SUBJECTS, 10.0),
    )


def _zipf(n: int, shift: float) -> NDArray[np.float64]:
    """Cumulative probabilities of ranks 0 to n - 1 under ``p(r) ~ 1 / (r + shift)``."""
    cumulative: NDArray[np.float64] = np.cumsum(1 / (np.arange(n) + shift))
    cumulative /= cumulative[-1]
    return cumulative


def _slots(n: int, shift: float, n_slots: int) -> NDArray[np.int64]:
    """Ranks by Zipf-Mandelbrot, as a table from which a uniform choice draws them."""
    return np.searchsorted(_zipf(n, shift), (np.arange(n_slots) + 0.5) / n_slots)


def _block(seed: int, chunk: int, block: int) -> tuple[csr_array, NDArray[np.int64]]:
    """Documents of one block, and of each its main topic, side topic and row of subjects."""
    model = _model(seed)
    rng = np.random.default_rng([seed, 2, chunk, block])
    topics = np.searchsorted(model.topic_cumulative, rng.random((_BLOCK, 2)))
    subject = np.searchsorted(model.subject_cumulative, rng.random(_BLOCK))
    subject += topics[:, 0] * _SUBJECTS
    # Long documents draw more of everything.
    length = np.exp(rng.normal(-0.05, 0.3, (_BLOCK, 1)))
    tables = (
        (model.subjects, subject, _SUBJECT_SLOTS),
        (model.topics, topics[:, 0], _TOPIC_SLOTS),
        (model.topics, topics[:, 1], _TOPIC_SLOTS),
        (model.all_terms[None], np.zeros(_BLOCK, np.int64), _ALL_SLOTS),
    )
    drawn = np.empty((_BLOCK, sum(_MOST_DRAWS)), np.int32)
    begin = 0
    for (table, row, n_slots), most in zip(tables, _MOST_DRAWS, strict=True):
        part = drawn[:, begin : begin + most]
        slots = rng.integers(n_slots, size=part.shape, dtype=np.uint32)
        slots += (row * n_slots).astype(np.uint32)[:, None]
        np.take(table.reshape(-1), slots, out=part, mode="clip")
        part[np.arange(most) >= length * (0.625 * most)] = _NO_TERM
        begin += most
    return _weigh(rng, drawn), np.column_stack((topics, subject))


def _weigh(rng: np.random.Generator, drawn: NDArray[np.int32]) -> csr_array:
    """Count equal draws of each row, and weigh the counts."""
    drawn.sort(axis=1)  # much faster for 32 bits than for the 16 that would do
    begins = np.empty(drawn.shape, np.bool_)
    begins[:, 0] = True
    np.not_equal(drawn[:, 1:], drawn[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    counts = np.diff(starts, append=drawn.size)
    terms = drawn.reshape(-1)[starts]
    kept = terms != _NO_TERM
    noise = rng.standard_normal(int(kept.sum()), dtype=np.float32)
    noise *= np.float32(0.8)
    noise -= np.float32(0.7)
    power = (np.arange(counts.max() + 1) ** 1.3).astype(np.float32)
    weights = np.minimum(np.log1p(np.exp(noise) * power[counts[kept]]), np.float32(3))
    per_row = np.bincount(starts[kept] // drawn.shape[1], minlength=len(drawn))
    return _csr(weights, terms[kept], per_row)


def _query(
    rng: np.random.Generator, model: _Model, rows: csr_array, row: int, origin: NDArray[np.int64]
) -> csr_array:
    begin, end = rows.indptr[row : row + 2].tolist()
    terms, weights = rows.indices[begin:end], rows.data[begin:end]
    # The largest of log(weight) + Gumbel noise: a draw without replacement, strong terms likelier.
    keys = 2.2 * np.log(weights) + rng.gumbel(size=len(weights))
    own = np.argsort(-keys)[:_OWN_TERMS]
    own_weights = weights[own] ** 0.7 * np.exp(rng.normal(-0.1, 0.5, len(own)))
    main, side, subject = origin.tolist()
    tables = (model.subjects[subject], model.topics[main], model.topics[side], model.all_terms)
    drawn = [
        table[rng.integers(len(table), size=int(share * _OTHER_TERMS))]
        for table, share in zip(tables, (1.6, 0.4, 0.2, 0.9), strict=True)
    ]
    others = rng.permutation(np.setdiff1d(np.concatenate(drawn), terms[own]))[:_OTHER_TERMS]
    other_weights = np.log1p(np.exp(rng.normal(-0.8, 0.8, len(others))))
    found = np.concatenate((terms[own], others)).astype(np.int32)
    values = np.minimum(np.concatenate((own_weights, other_weights)), 3).astype(np.float32)
    order = np.argsort(found)
    return _csr(values[order], found[order], np.array([len(found)]))


def _csr(
    values: NDArray[np.float32], columns: NDArray[np.int32], per_row: NDArray[np.int64]
) -> csr_array:
    pointers = np.concatenate(([0], np.cumsum(per_row))).astype(np.int32)
    return csr_array((values, columns, pointers), shape=(len(per_row), VOCABULARY))


def _stack(parts: Sequence[csr_array]) -> csr_array:
    return _csr(
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([np.diff(part.indptr) for part in parts]),
    )
