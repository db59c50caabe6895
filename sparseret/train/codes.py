"""A dense model and a corpus to an encoder of sparse codes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document, document_batches
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.encoders.codes import CodesEncoder
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.latent_labels import label_latents, write_labels
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar

__all__ = ["short_texts", "train_codes"]

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


def train_codes(
    model: str | Path,
    documents: Iterable[Document],
    out: str | Path,
    trainer: AutoencoderTrainer,
    *,
    short: bool = True,
    query_k: int | None = None,
    show_progress: bool = False,
) -> CodesEncoder:
    """Encode documents, train an autoencoder on their vectors, and save both as one encoder.

    Vectors go through a file in ``out``, so memory holds a batch of them. Latents are labelled by
    the terms of the documents they are active in.

    Args:
        model: a dense model of sentence-transformers: its folder, or a repository's id.
        documents: what to train on; read once.
        out: folder to write, which must be absent or empty.
        trainer: what to train.
        short: whether titles and some sentences are trained on, too: queries are short texts.
        query_k: of the encoder (:class:`~sparseret.encoders.codes.CodesEncoder`).
        show_progress: whether bars are shown.

    Raises:
        ConfigurationError: no such model, no documents, or ``out`` holds something.
        MissingExtraError: torch or transformers is not installed.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"{target} exists and is not an empty folder: choose another")
    dense = load_dense(model, device=trainer.device)
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
        trainer.fit(_mapped(rows, dense.n_features), show_progress=show_progress)
        codec_folder = Path(scratch, "codec")
        trainer.codec.save(codec_folder)
        codes = trainer.codec.transform(_mapped(kept, dense.n_features))
        if not trainer.codec.signed:
            write_labels(codec_folder, label_latents(codes, texts))
        CodesEncoder(model, codec=codec_folder, query_k=query_k).save(target)
    return CodesEncoder.load(target)


def _mapped(file: Path, width: int) -> NDArray[np.float32]:
    rows = file.stat().st_size // (4 * width)
    mapped: NDArray[np.float32] = np.memmap(file, np.float32, "r", shape=(rows, width))
    return mapped
