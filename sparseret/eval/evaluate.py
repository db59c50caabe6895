"""Evaluation of a retriever, or of a finished run, on a dataset."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sparseret.errors import DatasetError
from sparseret.eval.datasets import Dataset
from sparseret.eval.measures import DEFAULT_MEASURES, Scores, measure, required_depth
from sparseret.eval.runs import Run, drop_self_matches, run_from_hits
from sparseret.protocols import Hits, Mode

__all__ = ["Latency", "Performance", "Report", "evaluate", "evaluate_run"]

_LATENCY_QUERIES = 200
_LATENCY_K = 10


class Searchable(Protocol):
    """What an evaluation asks of a retriever; :class:`sparseret.retriever.Retriever` has it."""

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Top k of each query, ids and scores only; ``recall`` None for an exact search."""

    def __len__(self) -> int: ...

    @property
    def n_bytes(self) -> int:
        """Size on disk in bytes."""

    @property
    def description(self) -> str:
        """What it is, in a line."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of single queries, asked one after another on one thread, in milliseconds.

    Attributes:
        median, mean, p90, p99: over the queries asked.
        n_queries: how many were asked.
        k: number of results of each.
        mode: how they were searched.
    """

    median: float
    mean: float
    p90: float
    p99: float
    n_queries: int
    k: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class Performance:
    """What a retriever costs.

    Attributes:
        latency: of single queries.
        queries_per_second: of all queries of the dataset in one batch, encoding included.
        n_documents: documents in the index.
        n_bytes: size of the index on disk.
        peak_memory_bytes: largest resident size of this process so far; None where the platform
            does not tell.
    """

    latency: Latency
    queries_per_second: float
    n_documents: int
    n_bytes: int
    peak_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of an evaluation.

    Attributes:
        dataset: name of the dataset.
        split: split of the judgements.
        retriever: description of the retriever, or name of the run.
        drop_self: whether hits whose id is that of the query were dropped.
        depth: number of results asked for a query; None for a finished run.
        recall: share of the exact results that was asked for; None for all of them.
        mode: how the results that are rated were searched; None for a finished run.
        unknown_queries: number of judged queries that the dataset lacks, which were left out.
        scores: values of the measures.
        run: what was retrieved.
        performance: None for a finished run.
    """

    dataset: str
    split: str
    retriever: str
    drop_self: bool
    depth: int | None
    recall: float | None
    mode: Mode | None
    unknown_queries: int
    scores: Scores
    run: Run
    performance: Performance | None

    def to_json(self) -> dict[str, object]:
        """The report as JSON values, the run left out; null for what a finished run cannot tell."""
        cost = self.performance
        latency = cost and {
            "median": cost.latency.median,
            "mean": cost.latency.mean,
            "p90": cost.latency.p90,
            "p99": cost.latency.p99,
            "queries": cost.latency.n_queries,
            "k": cost.latency.k,
            "exact": cost.latency.mode.exact,
            "calibrated_recall": cost.latency.mode.recall,
        }
        return {
            "measures": dict(self.scores.mean),
            "latency_ms": latency,
            "queries_per_second": cost and cost.queries_per_second,
            "index": cost and {"documents": cost.n_documents, "bytes": cost.n_bytes},
            "peak_memory_bytes": cost and cost.peak_memory_bytes,
            "dataset": self.dataset,
            "split": self.split,
            "queries": len(self.scores.per_query),
            "unknown_queries": self.unknown_queries,
            "k": self.depth,
            "asked_recall": self.recall,
            "exact": self.mode and self.mode.exact,
            "calibrated_recall": self.mode and self.mode.recall,
            "drop_self": self.drop_self,
            "retriever": self.retriever,
            "per_query": {query: dict(row) for query, row in self.scores.per_query.items()},
        }


def evaluate(
    retriever: Searchable,
    dataset: Dataset,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    k: int | None = None,
    drop_self: bool = False,
    recall: float | None = None,
    threads: int | None = None,
) -> Report:
    """Ask a retriever the queries of a dataset and rate its answers.

    All queries go in one batch, which is timed for the throughput. After it, when caches are warm,
    up to 200 of them, spread evenly, are asked one at a time on one thread for their top 10, which
    gives the latency.

    Args:
        retriever: its index should hold the corpus of the dataset.
        dataset: queries and judgements.
        measures: names, see :mod:`sparseret.eval.measures`.
        k: number of results of a query; by default as many as the measures need, see
            :func:`sparseret.eval.measures.required_depth` (1,000 with MAP).
        drop_self: drop hits whose id is that of the query. One more result is retrieved then, so
            that k remain.
        recall: of approximate search, see :meth:`sparseret.retriever.Retriever.search`; None for
            an exact one. What was calibrated may differ between the batch, of k results a query,
            and the single queries, of 10.
        threads: of the batch; None leaves it to the retriever.

    Raises:
        ConfigurationError: an unknown measure, or a k below the cutoff of a measure.
    """
    depth = required_depth(measures, k)
    texts = [query.text for query in dataset.queries]
    start = time.perf_counter()
    hits = retriever.retrieve(texts, depth + drop_self, recall=recall, threads=threads)
    seconds = time.perf_counter() - start
    run = run_from_hits([query.id for query in dataset.queries], hits)
    if drop_self:
        run = {query: rest[:depth] for query, rest in drop_self_matches(run).items()}
    performance = Performance(
        latency=_latency(retriever, texts, recall),
        queries_per_second=len(texts) / seconds,
        n_documents=len(retriever),
        n_bytes=retriever.n_bytes,
        peak_memory_bytes=_peak_memory(),
    )
    return Report(
        dataset=dataset.name,
        split=dataset.split,
        retriever=retriever.description,
        drop_self=drop_self,
        depth=depth,
        recall=recall,
        mode=hits.mode,
        unknown_queries=len(dataset.unknown_queries),
        scores=measure(run, dataset.qrels, measures),
        run=run,
        performance=performance,
    )


def evaluate_run(
    run: Run,
    dataset: Dataset,
    *,
    name: str,
    measures: Sequence[str] = DEFAULT_MEASURES,
    drop_self: bool = False,
) -> Report:
    """Rate a finished run, such as one of another system read from a TREC run file.

    Raises:
        ConfigurationError: an unknown measure.
        DatasetError: a run that shares no query with the dataset, so it belongs to another one.
    """
    if run and not run.keys() & dataset.qrels.keys():
        raise DatasetError(
            f"{name}: none of its {len(run)} queries is judged by {dataset.name} "
            f"({dataset.split}); is it a run on another dataset or split?"
        )
    kept = drop_self_matches(run) if drop_self else run
    return Report(
        dataset=dataset.name,
        split=dataset.split,
        retriever=name,
        drop_self=drop_self,
        depth=None,
        recall=None,
        mode=None,
        unknown_queries=len(dataset.unknown_queries),
        scores=measure(kept, dataset.qrels, measures),
        run=kept,
        performance=None,
    )


def _latency(retriever: Searchable, texts: Sequence[str], recall: float | None) -> Latency:
    n_queries = min(len(texts), _LATENCY_QUERIES)
    times = np.empty(n_queries)
    mode = Mode()
    for at in range(n_queries):
        query = [texts[at * len(texts) // n_queries]]
        start = time.perf_counter()
        hits = retriever.retrieve(query, _LATENCY_K, recall=recall, threads=1)
        times[at] = (time.perf_counter() - start) * 1000
        mode = hits.mode
    median, p90, p99 = np.percentile(times, (50, 90, 99))
    return Latency(
        median=float(median),
        mean=float(times.mean()),
        p90=float(p90),
        p99=float(p99),
        n_queries=n_queries,
        k=_LATENCY_K,
        mode=mode,
    )


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such module.
        return None
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(usage) if sys.platform == "darwin" else int(usage) * 1024
