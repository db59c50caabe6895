"""Codecs by name, trained; and a dense model and a corpus to an encoder of sparse codes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document, document_batches
from sparseret.encoders.codecs import CODECS
from sparseret.encoders.codes import CodesEncoder
from sparseret.encoders.concepts import ConceptCodec
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.latent_labels import label_latents, write_labels
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar
from sparseret.protocols import Codec

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["TRAINERS", "require_new_folder", "short_texts", "train_codec", "train_codes"]

TRAINERS: Mapping[str, str] = {
    "autoencoder": "sparseret.encoders.autoencoder_training:AutoencoderTrainer",
    "dictionary": "sparseret.encoders.dictionary_training:DictionaryTrainer",
    "discrete-sparse-coding": "sparseret.encoders.discrete_coding_training:DiscreteCodingTrainer",
    "vq": "sparseret.encoders.quantiser_training:QuantiserTrainer",
}
"""Codecs that are learned: name -> "module:Class" of what learns them. Others are drawn."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_FEWEST_WORDS = 5


def short_texts(document: Document) -> list[str]:
    """Title, the first three sentences and the last one: texts of the length of queries."""
    sentences = [
        sentence
        for sentence in _SENTENCE.split(document.text)
        if len(sentence.split()) >= _FEWEST_WORDS
    ]
    found = dict.fromkeys([document.title, *sentences[:3], *sentences[-1:]])
    return [text for text in found if text.strip()]


def require_new_folder(folder: str | Path) -> Path:
    """A folder to write to. Raises ConfigurationError where there is something in it already."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"{target} exists and is not an empty folder: choose another")
    return target


def train_codec(
    name: str,
    vectors: NDArray[Any] | csr_array,
    options: Mapping[str, Any] | None = None,
    *,
    show_progress: bool = False,
) -> Codec:
    """A codec of some vectors, dense or sparse, shape (n, n_features), by its registered name.

    Args:
        name: in :data:`sparseret.encoders.codecs.CODECS`.
        vectors: what it is learned from; those drawn at random take their width, and some the
            scale, from them.
        options: of the class that :data:`TRAINERS` names, or of the codec's own class.
        show_progress: whether a bar is shown.

    Raises:
        ConfigurationError: an unknown name or option.
        VectorError: vectors that cannot be learned from.
        MissingExtraError: a package is not installed.
    """
    if name not in CODECS:
        raise ConfigurationError(f"unknown codec {name!r}; there are: {', '.join(sorted(CODECS))}")
    if name == ConceptCodec.name:
        raise ConfigurationError(
            "concepts have names, whose vectors are needed: `sparseret train concepts` makes them, "
            "or ConceptCodec(vectors, names).fit(X)"
        )
    module, _, attribute = TRAINERS.get(name, CODECS[name]).partition(":")
    made: Any = getattr(import_module(module), attribute)
    taken = [key for key in signature(made).parameters if key not in ("self", "n_features")]
    if unknown := sorted({*(options or {})} - {*taken}):
        raise ConfigurationError(
            f"the codec {name} has no option {unknown[0]!r}; it has {', '.join(taken)}"
        )
    try:
        if name in TRAINERS:
            codec: Codec = made(**(options or {})).fit(vectors, show_progress=show_progress).codec
            return codec
        drawn: Any = made(vectors.shape[1], **(options or {}))
    except TypeError as error:  # an option that must be given is not
        raise ConfigurationError(f"the codec {name}: {error}") from error
    fitted: Codec = drawn.fit(vectors) if hasattr(drawn, "fit") else drawn
    return fitted


def train_codes(
    model: str | Path,
    documents: Iterable[Document],
    out: str | Path,
    learn: Callable[[NDArray[np.float32]], Codec],
    *,
    short: bool = False,
    query_k: int | None = None,
    device: str = "cpu",
    show_progress: bool = False,
) -> CodesEncoder:
    """Encode documents, make a codec of their vectors, and save both as one encoder.

    Vectors go through a file in ``out``, so memory holds a batch of them. Latents are labelled by
    the terms of the documents they are active in, unless they are concepts, which have names.

    Args:
        model: a dense model of sentence-transformers: its folder, or a repository's id.
        documents: what to train on; read once.
        out: folder to write, which must be absent or empty.
        learn: vectors, mapped, shape (n, n_features) -> codec, such as
            ``lambda vectors: train_codec("vq", vectors, options)``.
        short: whether titles and some sentences are trained on, too: queries are short texts.
        query_k: of the encoder (:class:`~sparseret.encoders.codes.CodesEncoder`).
        device: of torch, for the model.
        show_progress: whether bars are shown.

    Raises:
        ConfigurationError: no such model, no documents, or ``out`` holds something.
        MissingExtraError: torch or transformers is not installed.
    """
    target = require_new_folder(out)
    dense = load_dense(model, device=device)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix="training-") as scratch:
        kept, rows = Path(scratch, "documents.f32"), Path(scratch, "vectors.f32")
        texts: list[str] = []
        with (
            kept.open("wb") as of_documents,
            rows.open("wb") as of_all,
            progress_bar("Encoding documents", None, show=show_progress) as advance,
        ):
            for batch in document_batches(documents):
                whole = [document.content for document in batch]
                vectors = dense.encode(whole, prompt=dense.document_prompt)
                of_documents.write(vectors.tobytes())
                of_all.write(vectors.tobytes())
                if short:
                    parts = [text for document in batch for text in short_texts(document)]
                    of_all.write(dense.encode(parts, prompt=dense.query_prompt).tobytes())
                texts += whole
                advance(len(whole))
        if not texts:
            raise ConfigurationError("there are no documents to train on")
        codec = learn(_mapped(rows, dense.n_features))
        codec_folder = Path(scratch, "codec")
        codec.save(codec_folder)
        if not (codec.signed or isinstance(codec, ConceptCodec)):  # concepts have names
            codes = codec.transform(_mapped(kept, dense.n_features))
            write_labels(codec_folder, label_latents(codes, texts))
        CodesEncoder(model, codec=codec_folder, query_k=query_k).save(target)
    return CodesEncoder.load(target)


def _mapped(file: Path, width: int) -> NDArray[np.float32]:
    rows = file.stat().st_size // (4 * width)
    mapped: NDArray[np.float32] = np.memmap(file, np.float32, "r", shape=(rows, width))
    return mapped
