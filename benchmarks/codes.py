"""Sparse codes of dense vectors and what they lose: ``python -m benchmarks codes``.

Encodes collections by a dense model, trains autoencoders on the documents of each, and searches
with codes; beside vectors that are cut to their first dimensions, or
to their principal components, of the same number of stored bytes. Needs torch and transformers.
Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import DATA
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.encoders.dense_text import DenseText, load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
from sparseret.eval.code_card import rate_codes
from sparseret.eval.code_retrieval import VectorCollection, rate_scores
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.readers import read_documents
from sparseret.train.codes import short_texts

__all__ = ["CodesReport", "Collection", "cached_vectors", "latents_of", "main", "markdown"]

_MEASURE = "nDCG@10"
_FEWEST_LATENTS = 768
_QUERY_FACTOR = 16
"""query_k, as a multiple of k."""
_CODE_BYTES = 4
"""Of an entry: a 16-bit column and a half-precision value."""
_DENSE_BYTES = 2
"""Of a dimension: a half-precision value."""


@dataclass(frozen=True)
class CodeQuality:
    """One way to keep a collection's vectors, and how well it is searched."""

    collection: str
    method: str
    k: int
    """Entries of a code, 0 for dense vectors."""
    bytes: int
    """Stored, a document."""
    ndcg: float


@dataclass(frozen=True)
class TrainedCodes:
    """An autoencoder on the documents of a collection."""

    collection: str
    recipe: str
    dim: int
    k: int
    epochs: int
    normalized_error: float
    dead: float
    dense: float


@dataclass(frozen=True)
class CodesReport:
    """Everything measured."""

    environment: Environment
    model: str
    codes: list[CodeQuality]
    trained: list[TrainedCodes]


class Collection:
    """Documents and queries of a collection, and their vectors."""

    def __init__(self, source: str, dense: DenseText, *, short: bool) -> None:
        self.dataset: Dataset = load_dataset(source)
        self.name = Path(source).name
        found = [record.document for record in read_documents(self.dataset.corpus)]
        self.ids = [document.id for document in found]
        self.documents = cached_vectors(self.name, "documents", dense, [d.content for d in found])
        queries = [query.text for query in self.dataset.queries]
        self.queries = cached_vectors(self.name, "queries", dense, queries)
        parts = [text for document in found for text in short_texts(document)]
        self.parts = cached_vectors(self.name, "parts", dense, parts) if short else None

    def rate(self, scores: NDArray[np.float32]) -> float:
        """nDCG@10 of a matrix queries × documents; scores of 0 are no hits."""
        whole = VectorCollection(self.dataset, self.ids, self.documents, self.queries)
        return rate_scores(scores, whole).ndcg


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks codes", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--k", nargs="+", type=int, default=[8, 16, 32, 64])
    parser.add_argument("--recipes", nargs="+", default=["topk:30", "csr:15"],
                        help="RECIPE:EPOCHS")  # fmt: skip
    parser.add_argument("--short", action="store_true",
                        help="train on titles and some sentences, too")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/codes"))
    options = parser.parse_args(arguments)
    root = find_folder(options.model)
    dense = load_dense(root)
    collections = [Collection(source, dense, short=options.short) for source in options.sets]
    codes: list[CodeQuality] = []
    trained: list[TrainedCodes] = []
    for c in collections:
        codes += _dense_ways(c, options.k)
        for spec in options.recipes:
            for k in options.k:
                codec, made = _train(c, spec, k, options)
                trained.append(made)
                codes += _code_ways(c, codec, made.recipe, k)
                say(", ".join(f"{q.method} {q.ndcg:.4f}" for q in codes[-2:]))
    report = CodesReport(
        environment(("sparseret", "torch", "transformers", "numpy")), root.name, codes, trained,
    )  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def _train(
    c: Collection, spec: str, k: int, options: argparse.Namespace
) -> tuple[SparseAutoencoder, TrainedCodes]:
    recipe, epochs = spec.split(":")
    say(f"training {recipe} on {c.name} with k={k}")
    learned = c.documents if c.parts is None else np.concatenate([c.documents, c.parts])
    dim = latents_of(len(c.documents))
    trainer = AutoencoderTrainer(
        dim, k, recipe, epochs=int(epochs), batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )  # fmt: skip
    codec = trainer.fit(learned).codec
    if codec.weights.decoder is not None:
        codec = codec.refitted()
    card = rate_codes(codec, c.documents)
    made = TrainedCodes(
        c.name, recipe, dim, k, int(epochs), card.normalized_error, card.dead, card.dense
    )
    return codec, made


def latents_of(n: int) -> int:
    """Latents for so many documents: half as many, and some hundred at least."""
    return max(_FEWEST_LATENTS, n // 2 // 256 * 256)


def cached_vectors(name: str, what: str, dense: DenseText, texts: list[str]) -> NDArray[np.float32]:
    """Vectors, from the benchmark's data where they were made before."""
    digest = dense.identity[0]
    file = DATA / f"codes-{digest}-{name}-{what}.npy"
    if file.exists():
        made: NDArray[np.float32] = np.load(file)
        if len(made) == len(texts):
            return made
    say(f"encoding {len(texts):,} {what} of {name}")
    made = dense.encode(texts)
    DATA.mkdir(parents=True, exist_ok=True)
    np.save(file, made)
    return made


def _dense_ways(c: Collection, ks: Sequence[int]) -> list[CodeQuality]:
    width = c.documents.shape[1]
    found = [
        CodeQuality(c.name, "dense", 0, width * _DENSE_BYTES, c.rate(c.queries @ c.documents.T))
    ]
    # Directions of the largest second moments, without a mean: products are what is searched by.
    _, _, components = np.linalg.svd(c.documents, full_matrices=False)
    for k in ks:
        dims = min(width, k * _CODE_BYTES // _DENSE_BYTES)
        for method, axes in (("cut", np.eye(width)[:dims]), ("PCA", components[:dims])):
            kept = [(part @ axes.T).astype(np.float32) for part in (c.queries, c.documents)]
            quality = c.rate(kept[0] @ kept[1].T)
            found.append(CodeQuality(c.name, method, k, dims * _DENSE_BYTES, quality))
    return found


def _code_ways(c: Collection, codec: SparseAutoencoder, recipe: str, k: int) -> list[CodeQuality]:
    codes = codec.transform(c.documents)
    codes.data[:] = codes.data.astype(np.float16)
    asked = {
        f"{recipe}, codes of queries": codec.transform(c.queries),
        f"{recipe}, query_k": codec.project(c.queries, min(codec.dim, _QUERY_FACTOR * k)),
    }
    return [
        CodeQuality(c.name, method, k, k * _CODE_BYTES, c.rate((queries @ codes.T).toarray()))
        for method, queries in asked.items()
    ]


def markdown(report: CodesReport) -> str:
    """The whole report."""
    methods = list(dict.fromkeys(q.method for q in report.codes if q.k))
    lines = [
        *environment_lines(report.environment),
        "",
        f"Vectors of {report.model}; autoencoders trained on the documents of each collection, "
        f"TopK ones refitted; query_k is at most {_QUERY_FACTOR} times k. {_MEASURE}; "
        f"{_CODE_BYTES} bytes an entry of a code (a "
        f"16-bit column, half precision), {_DENSE_BYTES} a dimension (half precision).",
    ]
    for name in dict.fromkeys(q.collection for q in report.codes):
        found = {(q.method, q.k): q for q in report.codes if q.collection == name}
        whole = found["dense", 0]
        ks = sorted({k for _, k in found if k})
        rows = [
            [str(k), str(k * _CODE_BYTES), *(f"{found[m, k].ndcg:.4f}" for m in methods)]
            for k in ks
        ]
        lines += [
            "",
            f"**{name}**: dense, {whole.bytes} bytes: {whole.ndcg:.4f}",
            "",
            *table(["k", "bytes", *methods], rows),
        ]
    rows = [
        [t.collection, t.recipe, f"{t.dim:,}", str(t.k), str(t.epochs), f"{t.normalized_error:.3f}",
         f"{t.dead:.1%}", f"{t.dense:.1%}"]
        for t in report.trained
    ]  # fmt: skip
    lines += [
        "",
        *table(
            ["collection", "recipe", "latents", "k", "epochs", "error", "dead", "dense latents"],
            rows,
        ),
    ]
    return "\n".join(lines) + "\n"
