"""A dense model and a small corpus to a docid model: passages, sampled terms, judged queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sparseret.analysis import Analyzer
from sparseret.documents import Document
from sparseret.encoders.dense import DenseTextEncoder
from sparseret.errors import ConfigurationError, IndexExistsError
from sparseret.indexers.docid_model import DocidIndex
from sparseret.train.codes import short_texts
from sparseret.train.docid_training import DocidTrainer

__all__ = ["DocidExample", "passage_examples", "query_examples", "term_examples", "train_docids"]

_FEWEST_TERMS, _MOST_TERMS = 3, 8


class DocidExample(NamedTuple):
    """A text, and the ids of the documents that are right for it."""

    text: str
    right: tuple[str, ...]


def passage_examples(documents: Iterable[Document]) -> Iterator[DocidExample]:
    """Titles and sentences of documents (:func:`~sparseret.train.codes.short_texts`)."""
    for document in documents:
        for text in short_texts(document):
            yield DocidExample(text, (document.id,))


def term_examples(
    documents: Sequence[Document], *, samples: int = 2, language: str = "english", seed: int = 0
) -> list[DocidExample]:
    """Three to eight distinct words of a document, drawn in proportion to frequency and idf.

    The weight of a word that stands f times in a document and in n of N documents is f log(N / n),
    with log(1 + 1/N) at least.

    Args:
        documents: what is sampled from; one without words has no examples.
        samples: examples of a document.
        language: of the stop words, which are left out; words stay as they are.
        seed: of what is drawn.

    Raises:
        ConfigurationError: an unknown language.
    """
    analyzer = Analyzer(language, stem=False)
    counts = [Counter(analyzer(document.content)) for document in documents]
    frequencies = Counter(word for found in counts for word in found)
    rng = np.random.default_rng(seed)
    examples = []
    for document, found in zip(documents, counts, strict=True):
        words = sorted(found)
        if not words:
            continue
        ratios = np.array([len(documents) / frequencies[word] for word in words])
        weights = np.log(np.maximum(ratios, 1 + 1 / len(documents)))
        weights *= [found[word] for word in words]
        for _ in range(samples):
            size = min(len(words), int(rng.integers(_FEWEST_TERMS, _MOST_TERMS + 1)))
            drawn = rng.choice(len(words), size, replace=False, p=weights / weights.sum())
            text = " ".join(words[place] for place in drawn.tolist())
            examples.append(DocidExample(text, (document.id,)))
    return examples


def query_examples(
    queries: Mapping[str, str],
    judgements: Mapping[str, Mapping[str, int]],
    documents: Iterable[str],
    *,
    least: int = 1,
) -> list[DocidExample]:
    """Queries with the documents that were judged right for them.

    Args:
        queries: texts by query id.
        judgements: query id -> document id -> grade.
        documents: ids; judgements of others are passed over, and so are queries without any.
        least: smallest grade that counts as right.
    """
    known = {*documents}
    examples = []
    for query, grades in judgements.items():
        right = tuple(id for id, grade in grades.items() if grade >= least and id in known)
        if right and query in queries:
            examples.append(DocidExample(queries[query], right))
    return examples


def train_docids(
    model: str | Path,
    documents: Iterable[Document],
    out: str | Path,
    *,
    on_documents: DocidTrainer | None = None,
    on_queries: DocidTrainer | None = None,
    queries: Mapping[str, str] | None = None,
    judgements: Mapping[str, Mapping[str, int]] | None = None,
    seed: int = 0,
    device: str = "cpu",
    show_progress: bool = False,
) -> DocidIndex:
    """Encode documents, and train a docid model that starts from their vectors.

    First on passages and sampled terms, then on queries, in the order of DynamicRetriever; either
    can be left out. The encoder stays as it is. Documents, examples and their vectors are held in
    memory.

    Args:
        model: a dense model of sentence-transformers: its folder, or a repository's id.
        documents: read once.
        out: file to write, which must not exist.
        on_documents: trains on passages and sampled terms; None for no such training.
        on_queries: trains on queries; None for no such training.
        queries: texts by query id, for ``on_queries``, with ``judgements``.
        judgements: query id -> document id -> grade; from 1 on, a document is right.
        seed: of the terms that are sampled.
        device: of torch, for the encoder.
        show_progress: whether bars are shown.

    Raises:
        ConfigurationError: no such model, no documents, too many, or no queries that judge any of
            them where there is a trainer for queries.
        DuplicateIdError: two documents have one id.
        IndexExistsError: ``out`` exists.
        MissingExtraError: torch or transformers is not installed.
    """
    if on_queries is not None and (queries is None or judgements is None):
        raise ConfigurationError("training on queries needs queries and judgements")
    target = Path(out)
    if target.exists():
        raise IndexExistsError(f"{target} exists: choose another path")
    encoder = DenseTextEncoder(model, device=device)
    found = list(documents)
    if not found:
        raise ConfigurationError("there are no documents to train on")
    vectors = encoder.encode_documents(found, show_progress=show_progress)
    worded = [document for document, row in zip(found, vectors, strict=True) if row.any()]
    stages: list[tuple[DocidTrainer, Sequence[DocidExample]]] = []
    if on_documents is not None:
        sampled = term_examples(worded, seed=seed)
        stages.append((on_documents, [*passage_examples(worded), *sampled]))
    if on_queries is not None and queries is not None and judgements is not None:
        judged = query_examples(queries, judgements, (document.id for document in worded))
        stages.append((on_queries, judged))
    index = DocidIndex.create(target, encoder.dim, space=encoder.space)
    try:
        index.add([document.id for document in found], vectors)
        index.commit()
        for trainer, examples in stages:
            texts = [example.text for example in examples]
            inputs = encoder.encode_queries(texts, show_progress=show_progress)
            right = [example.right for example in examples]
            trainer.fit(index, inputs, right, show_progress=show_progress)
            index.commit()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return index
