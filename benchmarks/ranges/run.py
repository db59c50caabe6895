"""Range filters: ``python -m benchmarks ranges --corpus splade-short``.

Exact top k among windows of consecutive documents, from 1/65536 of the corpus to all of it. For
each corpus writes ranges-CORPUS.json, .md and, where matplotlib is installed, .png and .svg.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.environment import environment
from benchmarks.own_index import fresh_index
from benchmarks.ranges.methods import Answer, Methods, Query
from benchmarks.ranges.options import add_window_options
from benchmarks.ranges.records import RANGE, MethodTimes, RangeReport, WindowSize
from benchmarks.ranges.tables import markdown, plot_report
from benchmarks.records_io import write_json
from benchmarks.rounds import latency, time_calls
from benchmarks.say import say
from benchmarks.vectors.corpora import VectorCorpus, load_vectors

__all__ = ["DisagreementError", "agree", "main", "window_sizes"]

_SEED = 11
_TOLERANCE = 5e-6
"""Relative: float32 sums in another order differ by less."""
_OWN_SUMS = ("where", "bitmap", "growing k", "all ranked")
"""Methods whose scores are summed as those of the range are, and so have to be equal."""


class DisagreementError(Exception):
    """Two methods found different documents."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    for name in options.corpus:
        say(f"{name}: reading")
        report = _one_corpus(load_vectors(name), options)
        out = options.out / f"ranges-{name.replace(':', '-')}"
        write_json(out.with_name(out.name + ".json"), report)
        text = markdown(report)
        out.with_name(out.name + ".md").write_text(text, encoding="utf-8")
        if not plot_report(out, report):
            say("no plot: matplotlib is not installed; python -m benchmarks report draws it later")
        print(text)


def window_sizes(n_documents: int, smallest: int) -> list[tuple[int, int]]:
    """Exponent and number of documents of each size, smallest first; none below a document."""
    return [
        (exponent, round(n_documents / 2**exponent))
        for exponent in range(smallest, -1, -1)
        if n_documents >= 2**exponent
    ]


def agree(one: Answer, other: Answer, *, same_sums: bool) -> bool:
    """Whether two answers are the same.

    Args:
        one: documents and scores, best first.
        other: the same.
        same_sums: whether scores were summed in the same order, so that all has to be equal.
            Otherwise documents may differ where their scores tie but for rounding.
    """
    if len(one.scores) != len(other.scores):
        return False
    if same_sums:
        return np.array_equal(one.documents, other.documents) and np.array_equal(
            one.scores, other.scores
        )
    if not np.allclose(one.scores, other.scores, rtol=_TOLERANCE, atol=0):
        return False
    last = one.scores[-1] * (1 + 2 * _TOLERANCE) if len(one.scores) else 0
    sure = one.documents[one.scores > last]
    return bool(np.isin(sure, other.documents).all())


def _one_corpus(corpus: VectorCorpus, options: argparse.Namespace) -> RangeReport:
    rng = np.random.default_rng(_SEED)
    chosen = rng.permutation(corpus.queries.shape[0])[: options.queries]
    rows = [corpus.queries[q : q + 1] for q in chosen.tolist()]
    queries = [Query(row, row.toarray()[0]) for row in rows]
    say(f"{corpus.name}: building")
    with fresh_index(corpus, "ranges", positions=True) as index:
        methods = Methods(index, corpus.matrix, options.k)
        sizes = []
        for exponent, n in window_sizes(corpus.n_documents, options.smallest):
            say(f"{corpus.name}: windows of {n:,} documents")
            starts = rng.integers(corpus.n_documents - n + 1, size=options.windows).tolist()
            sizes.append(_one_size(methods, queries, exponent, n, starts, options))
    return RangeReport(
        environment(("sparseret", "numpy", "scipy")), corpus.name, corpus.n_documents, options.k,
        len(queries), options.rounds, tuple(methods.methods), tuple(sizes),
    )  # fmt: skip


def _one_size(
    methods: Methods, queries: Sequence[Query], exponent: int, n: int, starts: list[int],
    options: argparse.Namespace,
) -> WindowSize:  # fmt: skip
    windows = [methods.window(range(start, start + n)) for start in starts]
    # Queries take turns with the windows.
    of_query = [windows[q % len(windows)] for q in range(len(queries))]
    calls = methods.calls(queries, of_query)
    timed = time_calls(calls, len(queries), options.rounds, options.seconds)
    answers = {
        method.name: [methods.answer(method.name, raw) for raw in own.answers]
        for method, own in zip(methods.methods, timed, strict=True)
    }
    for name, own_answers in answers.items():
        # A method that is slow has answers to the first queries only.
        for q, other in enumerate(own_answers):
            ours = answers[RANGE][q]
            if not agree(ours, other, same_sums=name in _OWN_SUMS):
                raise DisagreementError(
                    f"query {q}, window {of_query[q].documents}: {name} found {other}, the range "
                    f"search {ours}"
                )
    return WindowSize(
        exponent, n, len(windows),
        float(np.mean([len(answer.scores) for answer in answers[RANGE]])),
        tuple(
            MethodTimes(method.name, *latency(own.microseconds), len(own.answers))
            for method, own in zip(methods.methods, timed, strict=True)
        ),
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks ranges", description=__doc__)
    parser.add_argument(
        "--corpus", nargs="+", required=True,
        help="splade-long, splade-short, msmarco-like:N (at most 2 million)",
    )  # fmt: skip
    parser.add_argument("--k", type=int, default=10)
    add_window_options(parser)
    return parser
