"""What several legs cost a query: ``python -m benchmarks hybrid-speed``.

One index with BM25, SPLADE (where a model is given) and dense vectors of real texts. Queries are
put one a call, to each leg alone and to all, without and with a filter; ways take turns query by
query, so that a busy moment falls on all of them. Dense queries are encoded in the call ("texts"),
or looked up ("vectors"), where fusing weighs most. Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes import Collection
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret.documents import Document
from sparseret.encoders.dense_text import DenseText, load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.readers import read_documents
from sparseret.retriever import Retriever

__all__ = ["HybridSpeedReport", "main", "markdown"]

_FILTER = "half = 1"


@dataclass(frozen=True)
class LegTimes:
    """One way to search, milliseconds a query."""

    collection: str
    documents: int
    queries: str
    """"texts" or "vectors"."""
    filtered: bool
    way: str
    """The leg, or "all"."""
    p50: float
    p99: float


@dataclass(frozen=True)
class HybridSpeedReport:
    """Everything measured."""

    environment: Environment
    dense_model: str
    leg_times: list[LegTimes]


class _Known:
    """A dense encoder whose vectors are there, or are made of texts by a model."""

    name = "known"
    description = "known vectors"
    metric = "cosine"
    space = "known"

    def __init__(self, collection: Collection, dense: DenseText) -> None:
        self.dim = collection.documents.shape[1]
        found = read_documents(collection.dataset.corpus)
        self._documents = {r.document.id: i for i, r in enumerate(found)}
        self._queries = {q.text: i for i, q in enumerate(collection.dataset.queries)}
        self._collection, self._dense = collection, dense
        self.from_texts = False

    @property
    def options(self) -> dict[str, Any]:
        return {}

    def encode_documents(
        self,
        documents: Sequence[Document | str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        rows = [self._documents[d.id] for d in documents if isinstance(d, Document)]
        return np.asarray(self._collection.documents[rows], np.float32)

    def encode_queries(
        self,
        queries: Sequence[str],
        *,
        show_progress: bool = False,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        if self.from_texts:
            return self._dense.encode(queries, prompt=self._dense.query_prompt)
        rows = [self._queries[query] for query in queries]
        return np.asarray(self._collection.queries[rows], np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hybrid-speed", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--splade", help="folder of a SPLADE model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--queries", type=int, default=200, help="at most, of each collection")
    parser.add_argument("--rounds", type=int, default=5, help="the best of which counts")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/hybrid-speed"))
    options = parser.parse_args(arguments)
    dense = load_dense(find_folder(options.model))
    times: list[LegTimes] = []
    for source in options.sets:
        collection = Collection(source, dense, short=False)
        times += _collection_times(collection, dense, options.splade, options)
    report = HybridSpeedReport(
        environment(("sparseret", "torch", "transformers", "numpy")),
        Path(options.model).name, times,
    )  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), "utf-8")
    say(f"written: {options.out}.json and .md")


def _collection_times(
    collection: Collection, dense: DenseText, splade: str | None, options: argparse.Namespace
) -> list[LegTimes]:
    known = _Known(collection, dense)
    legs: dict[str, Any] = {"bm25": "bm25"}
    if splade:
        legs["splade"] = f"splade:{splade}"
    legs["dense"] = known
    every = [q.text for q in collection.dataset.queries]
    texts = every[:: max(1, len(every) // options.queries)][: options.queries]
    times = []
    with (
        tempfile.TemporaryDirectory(prefix="hybrid-speed-") as folder,
        Retriever.create(Path(folder, "index"), legs, filter_fields=["half"]) as retriever,
    ):
        found = [record.document for record in read_documents(collection.dataset.corpus)]
        retriever.add(
            [Document(d.id, d.text, d.title, {"half": i % 2}) for i, d in enumerate(found)]
        )
        retriever.merge(calibrate=False)
        for from_texts in (False, True):
            known.from_texts = from_texts
            for filter in (None, _FILTER):
                ways: dict[str, Callable[[str], object]] = {
                    leg: _asking(retriever, [leg], filter) for leg in legs
                }
                ways["all"] = _asking(retriever, None, filter)
                for way, taken in _measure(ways, texts, options.rounds).items():
                    p50, p99 = np.percentile(1e3 * taken, [50, 99])
                    times.append(
                        LegTimes(
                            collection.name,
                            len(found),
                            "texts" if from_texts else "vectors",
                            filter is not None,
                            way,
                            float(p50),
                            float(p99),
                        )
                    )
                say(f"{collection.name}: {len(times)} ways done")
    return times


def _asking(
    retriever: Retriever, legs: list[str] | None, filter: str | None
) -> Callable[[str], object]:
    # A leg alone gives as many results as it would to be fused.
    k = 10 if legs is None else 100
    return lambda text: retriever.retrieve([text], k, legs=legs, filter=filter, threads=1)


def _measure(
    ways: dict[str, Callable[[str], object]], texts: Sequence[str], rounds: int
) -> dict[str, NDArray[np.float64]]:
    """Seconds of each query, the best of some rounds, shape (queries,)."""
    best = {way: np.full(len(texts), np.inf) for way in ways}
    for _ in range(rounds):
        for at, text in enumerate(texts):
            for way, ask in ways.items():
                start = time.perf_counter()
                ask(text)
                best[way][at] = min(best[way][at], time.perf_counter() - start)
    return best


def markdown(report: HybridSpeedReport) -> str:
    """Tables of what was measured."""
    lines = [
        *environment_lines(report.environment),
        "",
        "Milliseconds a query, one a call on one thread a leg: the median, and after it the 99th "
        "percentile. A leg alone gives its 100 best, all legs together the 10 best of 100 each. "
        "*more than the slowest* compares medians.",
        "",
    ]
    keys = dict.fromkeys((t.collection, t.queries, t.filtered) for t in report.leg_times)
    rows = []
    for key in keys:
        of_key = {
            t.way: t for t in report.leg_times if (t.collection, t.queries, t.filtered) == key
        }
        slowest = max(t.p50 for way, t in of_key.items() if way != "all")
        cells = [
            f"{of_key[way].p50:.2f} / {of_key[way].p99:.2f}" if way in of_key else ""
            for way in ("bm25", "splade", "dense", "all")
        ]
        more = of_key["all"].p50 / slowest - 1
        rows.append(
            (f"{key[0]} ({of_key['all'].documents:,})", key[1], "half" if key[2] else "all",
             *cells, f"{more:+.0%}")
        )  # fmt: skip
    headers = ("collection", "queries", "documents", "bm25", "splade", "dense", "together",
               "more than the slowest")  # fmt: skip
    return "\n".join([*lines, *table(headers, rows)]) + "\n"
