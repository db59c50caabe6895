"""A dense model, a corpus and a list of names to an encoder whose columns are named concepts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.codes import CodesEncoder
from sparseret.encoders.concept_training import ConceptTrainer
from sparseret.encoders.concepts import ConceptCodec
from sparseret.encoders.dense_text import DenseText, load_dense
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar
from sparseret.train.codes import short_texts, train_codes

__all__ = ["name_concepts", "read_names", "train_concepts"]

_TEXTS = 1024
"""That are encoded at a time."""


def read_names(file: str | Path) -> list[str]:
    """Names of concepts: a line each, in UTF-8; spaces around them and empty lines are left out.

    Raises:
        ConfigurationError: the file cannot be read, holds none, or one twice.
    """
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not a text in UTF-8: {error}") from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in found:
            raise ConfigurationError(
                f"{file}, line {number}: {name!r} is in line {found[name]}, too; leave one out"
            )
        if name:
            found[name] = number
    if not found:
        raise ConfigurationError(f"{file} holds no names: write one a line")
    return list(found)


def name_concepts(
    model: str | Path, names: Sequence[str], k: int = 32, *, device: str = "cpu"
) -> ConceptCodec:
    """Concepts whose directions are the vectors of their names, not yet standardised.

    Args:
        model: a dense model of sentence-transformers: its folder, or a repository's id.
        names: of the concepts, distinct; words, or short texts.
        k: concepts of a code.
        device: of torch.

    Raises:
        ConfigurationError: no such model, or what :class:`ConceptCodec` refuses.
        MissingExtraError: torch or transformers is not installed.
    """
    dense = load_dense(model, device=device)
    return ConceptCodec(dense.encode(names, prompt=dense.query_prompt), names, k)


def train_concepts(
    model: str | Path,
    documents: Iterable[Document],
    out: str | Path,
    start: ConceptCodec,
    trainer: ConceptTrainer | None = None,
    *,
    device: str = "cpu",
    show_progress: bool = False,
) -> CodesEncoder:
    """Standardise concepts over documents, train them if wished, and save model and codec as one.

    Scores are standardised over the documents and :func:`~sparseret.train.codes.short_texts` of
    them, as queries are short; what is trained on is which of these texts belongs to which
    document. Vectors go through files, so memory holds a batch of them.

    Args:
        model: a dense model of sentence-transformers: its folder, or a repository's id.
        documents: read once.
        out: folder to write, which must be absent or empty.
        start: as :func:`name_concepts` makes it; it is fitted here.
        trainer: made with ``start``; None for no training.
        device: of torch, for the model.
        show_progress: whether bars are shown.

    Raises:
        ConfigurationError: no such model, no documents, a trainer of another codec, or ``out``
            holds something.
        VectorError: concepts whose scores do not vary, or nothing to tell apart.
        MissingExtraError: torch or transformers is not installed.
    """
    if trainer is not None and trainer.start is not start:
        raise ConfigurationError("the trainer is of another codec: make it with start")
    parts: list[list[str]] = []

    def passing() -> Iterator[Document]:
        for document in documents:
            parts.append(short_texts(document))
            yield document

    def learn(vectors: NDArray[np.float32]) -> ConceptCodec:
        with tempfile.TemporaryDirectory(prefix="sparseret-") as scratch:
            dense = load_dense(model, device=device)
            found = _encode_parts(dense, vectors, parts, Path(scratch), show=show_progress)
            start.fit(found.together)
            if trainer is None:
                return start
            whole, short = found.together[: len(parts)], found.together[len(parts) :]
            trainer.fit(short, whole, found.owners, show_progress=show_progress)
            return trainer.codec

    return train_codes(model, passing(), out, learn, device=device, show_progress=show_progress)


class _Encoded(NamedTuple):
    together: NDArray[np.float32]
    """Documents, then their short texts; mapped, shape (n + m, n_features)."""
    owners: NDArray[np.int64]
    """Document of each short text, shape (m,)."""


def _encode_parts(
    dense: DenseText,
    vectors: NDArray[np.float32],
    parts: Sequence[Sequence[str]],
    scratch: Path,
    *,
    show: bool,
) -> _Encoded:
    texts = [text for of_one in parts for text in of_one]
    owners = np.repeat(np.arange(len(parts)), [len(of_one) for of_one in parts])
    rows = (len(vectors) + len(texts), dense.n_features)
    together = np.lib.format.open_memmap(scratch / "vectors.npy", "w+", np.float32, rows)
    for begin in range(0, len(vectors), _TEXTS):
        together[begin : begin + _TEXTS][: len(vectors) - begin] = vectors[begin : begin + _TEXTS]
    with progress_bar("Encoding titles and sentences", len(texts), show=show) as advance:
        for begin in range(0, len(texts), _TEXTS):
            some = texts[begin : begin + _TEXTS]
            place = len(vectors) + begin
            together[place : place + len(some)] = dense.encode(some, prompt=dense.query_prompt)
            advance(len(some))
    return _Encoded(together, owners)
