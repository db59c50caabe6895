"""Promises about encoding, held against ``encoding``."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.encoding.records import PEER, EncodingReport
from benchmarks.encoding.tables import ratio
from benchmarks.promises.target import Target, at_least, at_most

__all__ = ["documents", "queries"]

_LARGEST_DIFFERENCE = 1e-4


def documents(report: EncodingReport) -> Iterator[Target]:
    """Four times as fast in a tenth of the memory of the peer's logits, and the same weights."""
    for own in report.documents_encoded:
        where = f"{report.texts}: {own.encoder}"
        times = ratio(report, own.encoder)
        if own.encoder == PEER or times is None:
            continue
        yield at_least(f"{where}: documents/s over {PEER}", times, 4.0)
        yield at_most(f"{where}: memory, of {PEER}'s logits", own.rise_mb / report.logits_mb, 0.1)
        if "int8" not in own.encoder and own.largest_difference is not None:
            apart = own.largest_difference
            yield Target(
                f"{where}: largest difference of a weight", f"≤ {_LARGEST_DIFFERENCE:g}",
                f"{apart:.1e}", apart <= _LARGEST_DIFFERENCE,
            )  # fmt: skip


def queries(report: EncodingReport) -> Iterator[Target]:
    """In a batch and one a call."""
    times = {own.encoder: own for own in report.queries_encoded}
    if times.keys() >= {"BM25", "inference-free"}:
        own, bm25 = times["inference-free"], times["BM25"]
        where = f"{report.texts}: queries, time over BM25's"
        yield at_most(f"{where}, in a batch", own.batch_us / bm25.batch_us, 1.1)
        yield at_most(f"{where}, one a call", own.single_us / bm25.single_us, 1.1)
