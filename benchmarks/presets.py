"""What rounding and pruning save and cost: ``python -m benchmarks presets``.

Indexes ``splade-long`` (``python -m benchmarks.splade``) with each preset, and compares exact
searches of what is stored with those of the vectors as they were: recall@10 over all queries and
all documents, and nDCG@10 on the test queries of four collections, each among its own documents.
Floats of 8 bits, which no preset makes, stand beside them for comparison with "uint8".
Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.long_texts import LongText, collection_folder, long_texts
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.vectors.corpora import VectorCorpus, load_vectors
from benchmarks.vectors.truth import Truth, exact_top
from sparseret import InvertedIndex, vectors
from sparseret.errors import DatasetError
from sparseret.eval.datasets import read_qrels
from sparseret.eval.measures import measure
from sparseret.eval.runs import run_from_hits
from sparseret.indexers.info import index_info
from sparseret.indexers.reduction import Reduction

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["COLLECTIONS", "PRESETS", "PresetReport", "main", "markdown", "measure_presets"]

PRESETS = (
    Reduction(),
    Reduction("float16"),
    Reduction("uint8", largest=3.0),
    Reduction("uint8", largest=6.0),
    Reduction(mass=0.95),
    Reduction(mass=0.9),
    Reduction(max_terms=128),
    Reduction("uint8", largest=3.0, mass=0.95),
    Reduction("uint8", largest=3.0, mass=0.9),
    Reduction("uint8", largest=3.0, max_terms=128),
)
COLLECTIONS = ("scifact", "nfcorpus", "cranfield", "cisi")
_K = 10


@dataclass(frozen=True)
class Preset:
    """What one preset saves and costs."""

    preset: str
    values_per_document: float
    bytes_per_document: float
    """Of segments: vectors in rows and lists."""
    recall: float
    ndcg: tuple[float, ...]
    """Of each collection, in the order of the report."""


@dataclass(frozen=True)
class PresetReport:
    """Everything measured."""

    environment: Environment
    documents: int
    queries: int
    collections: tuple[str, ...]
    presets: list[Preset]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks presets", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/presets"))
    options = parser.parse_args(arguments)
    corpus = load_vectors("splade-long")
    texts = long_texts()
    if (len(texts.documents), len(texts.queries)) != (corpus.n_documents, corpus.queries.shape[0]):
        raise DatasetError(
            "splade-long was encoded from other texts than those that are there now: "
            "python -m benchmarks.splade encodes them anew once data/splade-long is removed"
        )
    report = PresetReport(
        environment(), corpus.n_documents, int(corpus.queries.shape[0]), COLLECTIONS,
        measure_presets(corpus, texts.documents, texts.queries, PRESETS),
    )  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def measure_presets(
    corpus: VectorCorpus,
    documents: Sequence[LongText],
    queries: Sequence[LongText],
    presets: Sequence[Reduction],
) -> list[Preset]:
    """Measure each preset; ``documents`` and ``queries`` say what the rows of the corpus are."""
    truth = exact_top(corpus.chunks(), corpus.queries, [_K])[_K]
    judge = _Judge(corpus.queries, truth, documents, queries)
    found = [judge.measure(preset, preset.description, corpus.matrix) for preset in presets]
    rounded = _small_floats(corpus.matrix)
    found.append(judge.measure(Reduction(), "floats of 8 bits, for comparison", rounded))
    return found


def _small_floats(rows: csr_array) -> csr_array:
    """As 8-bit floats: 4 bits of mantissa, 4 of exponent up to that of the largest, no sign."""
    fraction, exponent = np.frexp(rows.data)
    rounded = np.ldexp(np.rint(fraction * 2**5) / 2**5, exponent).astype(np.float32)
    rounded[exponent <= exponent.max() - 2**4] = 0
    small = rows.copy()
    small.data = rounded
    return vectors.check(small)


class _Judge(NamedTuple):
    """What presets are measured with."""

    asked: csr_array
    truth: Truth
    documents: Sequence[LongText]
    queries: Sequence[LongText]

    def measure(self, preset: Reduction, name: str, rows: csr_array) -> Preset:
        print(name, file=sys.stderr)
        with (
            tempfile.TemporaryDirectory() as folder,
            InvertedIndex.create(
                Path(folder, "index"), signed=False, precision=preset.precision,
                largest=preset.largest, mass=preset.mass, max_terms=preset.max_terms,
            ) as index,
        ):  # fmt: skip
            index.add([str(row) for row in range(rows.shape[0])], rows)
            index.commit()
            info = index_info(index)
            hits = index.search(self.asked, _K)
            recall = self.truth.recall([[int(id) for id in row] for row in hits.ids])
            ndcg = tuple(self._ndcg(index, collection) for collection in COLLECTIONS)
        return Preset(
            name, info.legs[0].nnz / info.documents,
            info.legs[0].segment_bytes / info.documents,
            float(recall.mean()), ndcg,
        )  # fmt: skip

    def _ndcg(self, index: InvertedIndex, collection: str) -> float:
        """nDCG@10 of a collection's test queries, among its own documents."""
        qrels = read_qrels(collection_folder(collection) / "qrels" / "test.tsv")
        own = {
            str(row): text.id
            for row, text in enumerate(self.documents)
            if text.collection == collection
        }
        judged = [
            row
            for row, text in enumerate(self.queries)
            if text.collection == collection and text.id in qrels
        ]
        hits = index.search(self.asked[np.array(judged)], _K, allow=own)
        named = hits._replace(ids=[[own[row] for row in found] for found in hits.ids])
        run = run_from_hits([self.queries[row].id for row in judged], named)
        return measure(run, qrels, ["nDCG@10"]).mean["nDCG@10"]


def markdown(report: PresetReport) -> str:
    """The whole report."""
    rows = [
        [
            preset.preset,
            f"{preset.values_per_document:.1f}",
            f"{preset.bytes_per_document:,.0f}",
            f"{preset.recall:.4f}",
            *(f"{value:.4f}" for value in preset.ndcg),
        ]
        for preset in report.presets
    ]
    header = [
        "stored", "values a document", "bytes a document", "recall@10",
        *(f"nDCG@10 {name}" for name in report.collections),
    ]  # fmt: skip
    return (
        "\n".join(
            [
                *environment_lines(report.environment),
                "",
                f"{report.documents:,} documents, {report.queries:,} queries.",
                "",
                *table(header, rows),
            ]
        )
        + "\n"
    )
