"""A sparse encoder and a corpus to an encoder of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sparseret.documents import Document, document_batches
from sparseret.encoders.latent_labels import label_latents
from sparseret.encoders.sparse_codes import SparseCodesEncoder, check_coded, write_sparse_codes
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar
from sparseret.protocols import Codec, Encoder
from sparseret.train.codes import require_new_folder, short_texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["train_sparse_codes"]


def train_sparse_codes(
    encoder: Encoder,
    documents: Iterable[Document],
    out: str | Path,
    learn: Callable[[csr_array], Codec],
    *,
    short: bool = False,
    query_k: int | None = None,
    show_progress: bool = False,
) -> SparseCodesEncoder:
    """Encode documents, make a codec of their vectors, and save both as one encoder.

    Vectors are held in memory, as sparse ones. Latents are labelled by the terms of the documents
    they are active in.

    Args:
        encoder: makes the vectors; BM25's change with the collection and cannot be taken.
        documents: what to train on; read once.
        out: folder to write, which must be absent or empty.
        learn: vectors, shape (n, n_features) -> codec, such as
            ``lambda vectors: train_codec("vq", vectors, options)``.
        short: whether titles and some sentences are trained on, too, encoded as queries.
        query_k: of the encoder (:class:`~sparseret.encoders.sparse_codes.SparseCodesEncoder`).
        show_progress: whether bars are shown.

    Raises:
        ConfigurationError: an encoder of another kind, no documents, or ``out`` holds something.
        MissingExtraError: what the encoder needs is not installed.
    """
    from scipy.sparse import vstack

    target = require_new_folder(out)
    check_coded(encoder)
    whole: list[csr_array] = []
    parts: list[csr_array] = []
    texts: list[str] = []
    with progress_bar("Encoding documents", None, show=show_progress) as advance:
        for batch in document_batches(documents):
            whole.append(encoder.encode_documents(batch))
            if short:
                found = [text for document in batch for text in short_texts(document)]
                parts.append(encoder.encode_queries(found))
            texts += [document.content for document in batch]
            advance(len(batch))
    if not texts:
        raise ConfigurationError("there are no documents to train on")
    kept = vstack(whole, format="csr")
    codec = learn(vstack([kept, *parts], format="csr"))
    labels = {} if codec.signed else label_latents(codec.transform(kept), texts)
    write_sparse_codes(target, encoder, codec, labels, query_k=query_k)
    return SparseCodesEncoder.load(target)
