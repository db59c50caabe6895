"""Codes of named concepts, and what they find: ``python -m benchmarks concepts``.

Concepts of a collection are the words and pairs of words that stand in most of its documents, but
for those in more than a fifth. They are used as they are, and trained on which title or sentence
is of which document. Queries and their judgements take part in nothing. Then, which of the
collections a document is from, told by the names of their subjects. Needs torch and transformers.
Prints tables.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes import Collection, cached_vectors
from benchmarks.markdown import table
from benchmarks.say import say
from sparseret.analysis import Analyzer
from sparseret.encoders.concept_training import ConceptTrainer
from sparseret.encoders.concepts import ConceptCodec, concept_matrix_search
from sparseret.encoders.dense_text import DenseText, load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.readers import read_documents
from sparseret.train.codes import short_texts

__all__ = ["frequent_terms", "main"]

_MOST = 0.2
_SHORTEST = 3
_LOSSES = ("contrastive", "gumbel", "l1")


def frequent_terms(texts: Sequence[str], count: int) -> list[str]:
    """Words and pairs of neighbours, of three letters or more, by the number of texts they are in;
    without those that are in more than a fifth of all."""
    analyzer = Analyzer(stem=False)
    found: Counter[str] = Counter()
    for text in texts:
        words = [w for w in analyzer(text) if w.isalpha() and len(w) >= _SHORTEST]
        found.update({*words, *(f"{a} {b}" for a, b in pairwise(words))})
    left = {term: number for term, number in found.items() if number <= _MOST * len(texts)}
    return sorted(left, key=lambda term: (-left[term], term))[:count]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks concepts", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--subjects", nargs="*", default=[], help="names of what each is about")
    parser.add_argument("--count", type=int, default=2048, help="concepts of a collection")
    parser.add_argument("-k", type=int, default=32)
    parser.add_argument("--names", type=Path, help="folder for the lists of concepts")
    options = parser.parse_args(arguments)
    dense = load_dense(find_folder(options.model))
    collections = [Collection(source, dense, short=True) for source in options.sets]
    named = [_names(source, options) for source in options.sets]
    rows = []
    for collection, source, names in zip(collections, options.sets, named, strict=True):
        rows += _rate(collection, source, names, dense, options.k)
    head = [
        "collection",
        "training",
        "nDCG@10",
        "values",
        "cosine with name",
        "nearest to own name",
    ]
    print("\n".join(table(head, rows)))
    if options.subjects:
        print("\n".join(["", *_classify(collections, named, dense, options.subjects, options.k)]))


def _names(source: str, options: argparse.Namespace) -> list[str]:
    texts = [record.document.content for record in read_documents(Path(source))]
    names = frequent_terms(texts, options.count)
    if options.names is not None:
        options.names.mkdir(parents=True, exist_ok=True)
        file = options.names / f"{Path(source).name}.txt"
        file.write_text("".join(f"{name}\n" for name in names), "utf-8")
    return names


def _rate(
    collection: Collection, source: str, names: list[str], dense: DenseText, k: int
) -> list[list[str]]:
    parts = collection.parts
    if parts is None:
        raise ValueError("concepts are trained on parts of documents")
    documents = [record.document for record in read_documents(Path(source))]
    owners = np.repeat(np.arange(len(documents)), [len(short_texts(d)) for d in documents])
    vectors = cached_vectors(collection.name, "concepts", dense, names)
    start = ConceptCodec(vectors, names, k).fit(np.concatenate([collection.documents, parts]))
    whole = collection.rate(collection.queries @ collection.documents.T)
    rows = [
        [collection.name, "dense vectors", f"{whole:.4f}", str(vectors.shape[1]), "", ""],
        _row(collection, "none", start, start),
    ]
    for loss in _LOSSES:
        say(f"training concepts of {collection.name}: {loss}")
        trainer = ConceptTrainer(start, loss).fit(parts, collection.documents, owners)
        rows.append(_row(collection, loss, trainer.codec, start))
    return rows


def _row(collection: Collection, loss: str, codec: ConceptCodec, start: ConceptCodec) -> list[str]:
    codes = codec.transform(collection.documents)
    quality = collection.rate((codec.transform(collection.queries) @ codes.T).toarray())
    new, old = (_directions(c.directions) for c in (codec, start))
    cosines = new @ old.T
    own = float(np.mean(cosines.argmax(axis=1) == np.arange(codec.dim)))
    return [
        collection.name, loss, f"{quality:.4f}", f"{codes.nnz / codes.shape[0]:.1f}",
        f"{np.diag(cosines).mean():.3f}", f"{own:.1%}",
    ]  # fmt: skip


def _classify(
    collections: Sequence[Collection],
    named: Sequence[Sequence[str]],
    dense: DenseText,
    subjects: Sequence[str],
    k: int,
) -> list[str]:
    least = min(len(c.documents) for c in collections)
    items = np.concatenate([c.documents[:least] for c in collections])
    wanted = np.repeat(np.arange(len(collections)), least)
    classes = dense.encode(subjects)
    parts = [cached_vectors(c.name, "concepts", dense, list(names))
             for c, names in zip(collections, named, strict=True)]  # fmt: skip
    found = {name: vector for names, vectors in zip(named, parts, strict=True)
             for name, vector in zip(names, vectors, strict=True)}  # fmt: skip
    plain = ConceptCodec(np.stack(list(found.values())), list(found), k)
    fitted = ConceptCodec(plain.directions, plain.names, k).fit(items)

    def accuracy(told: NDArray[np.int64]) -> str:
        return f"{np.mean(told == wanted):.1%}"

    rows = [
        ["cosine of vectors", accuracy(np.argmax(items @ _directions(classes).T, axis=1))],
        ["scores, as they are",
         accuracy(concept_matrix_search(plain.scores(items), plain.scores(classes)))],
        ["scores, standardised",
         accuracy(concept_matrix_search(fitted.scores(items), fitted.scores(classes)))],
        [f"codes of {fitted.k} concepts",
         accuracy(concept_matrix_search(
             fitted.transform(items).toarray(), fitted.transform(classes).toarray()))],
    ]  # fmt: skip
    what = f"{len(items):,} documents, {len(subjects)} subjects, {len(found):,} concepts"
    return table([what, "accuracy"], rows)


def _directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    made: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made
