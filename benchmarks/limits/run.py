"""Distance from the machine's limits: ``python -m benchmarks limits --corpus splade-short``.

Bandwidth of the memory, bytes that a query must move, instructions of a query (with valgrind), and
what batches and a second thread add. For each corpus writes limits-CORPUS.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.environment import environment
from benchmarks.limits.instructions import count_instructions, missing_valgrind
from benchmarks.limits.machine import measure_machine
from benchmarks.limits.records import (
    POSTING_BYTES,
    Limit,
    LimitReport,
    Machine,
    Moved,
    Threads,
)
from benchmarks.limits.tables import markdown
from benchmarks.own_index import fresh_index
from benchmarks.records_io import write_json
from benchmarks.rounds import latency, time_batches, time_calls
from benchmarks.say import say
from benchmarks.vectors.corpora import VectorCorpus, load_vectors
from sparseret.indexers.impact_data import ImpactData
from sparseret.indexers.inverted import InvertedIndex
from sparseret.indexers.snapshot import Snapshot
from sparseret.kernels import Effort, Work

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["main", "moved"]

_SEED = 7
_RECALLS = (0.95, 0.99)
_LIST_BYTES = 12
_SUM_BYTES = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    say("measuring the machine")
    machine = measure_machine()
    for name in options.corpus:
        say(f"{name}: reading and building")
        corpus = load_vectors(name)
        with fresh_index(corpus, "limits") as index:
            report = _one_index(corpus, index, machine, options)
        out = options.out / f"limits-{name.replace(':', '-')}"
        write_json(out.with_name(out.name + ".json"), report)
        text = markdown(report)
        out.with_name(out.name + ".md").write_text(text, encoding="utf-8")
        print(text)


def moved(snapshot: Snapshot, queries: csr_array, work: Work) -> Moved:
    """What a query cannot do without, the mean over the queries.

    Args:
        snapshot: of an index of positive weights.
        queries: canonical CSR, shape (n, n_columns).
        work: of all of them.
    """
    n = queries.shape[0]
    lists, sums, row_bytes, documents = 0, 0, 0, 0
    for file in snapshot.files:
        data = file.data
        if not isinstance(data, ImpactData):
            continue  # scored by other kernels, which do not count their work
        columns = data.lists.columns
        places = np.minimum(np.searchsorted(columns, queries.indices), len(columns) - 1)
        own = places[columns[places] == queries.indices]
        lists += int((data.lists.column_ptr[own + 1] - data.lists.column_ptr[own]).sum())
        sums += -(-data.n_docs >> file.window_bits) << file.window_bits
        row_bytes += data.nnz * (data.row_ranks.itemsize + data.row_values.itemsize)
        row_bytes += data.n_docs * 2 * data.row_ptr.itemsize
        documents += data.n_docs
    rows = work.rows / n
    return Moved(
        postings=work.postings / n,
        rows=rows,
        posting_bytes=work.postings / n * POSTING_BYTES,
        row_bytes=rows * row_bytes / max(documents, 1),
        directory_bytes=lists / n * _LIST_BYTES,
        accumulator_bytes=2.0 * sums * _SUM_BYTES,
    )


def _one_index(
    corpus: VectorCorpus, index: InvertedIndex, machine: Machine, options: argparse.Namespace
) -> LimitReport:
    chosen = np.random.default_rng(_SEED).permutation(corpus.queries.shape[0])
    chosen = chosen[: 2 * options.queries]
    tuning, asked = (corpus.queries[half] for half in np.array_split(chosen, 2))
    say(f"{corpus.name}: calibrating")
    calibration = index.tune(tuning)
    modes: dict[str, dict[str, float]] = {"exact": {}}
    efforts: list[Effort | None] = [None]
    for recall in _RECALLS:
        level = calibration.cheapest(recall, options.k)
        if level is not None:  # otherwise that search is exact, too
            modes[f"recall {recall:g}"] = {"recall": recall}
            efforts.append(level.effort)
    say(f"{corpus.name}: timing")
    singles, threads = _times(index, asked, options, list(modes.values()))
    unknown = missing_valgrind() if options.instructions else "not asked for"
    counted: list[float | None] = [None] * len(modes)
    if unknown is None:
        say(f"{corpus.name}: counting instructions, which takes minutes")
        counted[:] = count_instructions(
            index.path, asked[: options.instructions], options.k, efforts
        )
    limits = []
    for i, mode in enumerate(modes):
        work = index.snapshot.search(asked, options.k, effort=efforts[i]).work
        done = moved(index.snapshot, asked, work)
        limits.append(Limit(mode, *singles[i], done, threads[i], counted[i]))
    return LimitReport(
        environment(("sparseret", "numpy", "scipy")), corpus.name, corpus.n_documents,
        sum(-(-file.data.n_docs >> file.window_bits) for file in index.snapshot.files),
        options.k, asked.shape[0], options.rounds, unknown, machine, tuple(limits),
    )  # fmt: skip


def _times(
    index: InvertedIndex, asked: csr_array, options: argparse.Namespace, modes: list[dict[str, Any]]
) -> tuple[list[Any], list[Threads]]:
    """Latencies of single queries, and means of batches, of each mode."""
    n = asked.shape[0]
    rows = [asked[q : q + 1] for q in range(n)]
    search = index.search

    def single(mode: dict[str, Any]) -> Callable[[int], Any]:
        return lambda q: search(rows[q], options.k, threads=1, **mode)

    def batch(mode: dict[str, Any]) -> Callable[[int], Any]:
        return lambda threads: search(asked, options.k, threads=threads, **mode)

    timed = time_calls([single(mode) for mode in modes], n, options.rounds)
    singles = [latency(own.microseconds) for own in timed]
    threads = [
        Threads(one.mean_us, *time_batches(batch(mode), n, options.rounds))
        for mode, one in zip(modes, singles, strict=True)
    ]
    return singles, threads


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks limits", description=__doc__)
    parser.add_argument(
        "--corpus", nargs="+", required=True, help="splade-long, splade-short, msmarco-like:N"
    )
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument(
        "--queries", type=int, default=300, help="and as many others to calibrate (default 300)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--instructions", type=int, default=50, metavar="N",
        help="queries put under valgrind (default 50); 0 leaves that out",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="a folder")
    return parser
