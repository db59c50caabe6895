"""What codecs are trained on, by the command line: documents that something encodes, or vectors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from sparseret.cli.encoders import resolve_encoder
from sparseret.protocols import Codec

__all__ = [
    "DocumentsArgument",
    "EncodedBy",
    "ModelOption",
    "OutOption",
    "SourceArgument",
    "train_source",
]

DocumentsArgument = Annotated[
    str,
    typer.Argument(
        help="Documents: a .jsonl or .tsv file (also .gz, .zst) or a folder in BEIR's layout.",
        show_default=False,
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(
        help="Documents: a .jsonl or .tsv file (also .gz, .zst) or a folder in BEIR's layout, "
        "with --model or --encoder. Or vectors, a row each: a .npy file, which may be larger than "
        "memory, or a .npz file of scipy.sparse.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="Folder to write, new.", show_default=False)
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="Dense model of sentence-transformers that encodes the documents: its folder, or a "
        "repository's id.",
        show_default=False,
    ),
]
EncodedBy = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Sparse encoder in place of --model, such as splade:FOLDER.",
        show_default=False,
    ),
]


def train_source(
    source: str,
    out: Path,
    learn: Callable[[Any], Codec],
    *,
    model: str | None,
    encoder: str | None,
    short: bool = False,
    query_k: int | None = None,
    device: str = "cpu",
) -> str:
    """Make a codec of vectors, or an encoder of documents, in a folder; returns what it is.

    Args:
        source: what was given.
        out: the folder.
        learn: vectors, shape (n, n_features) -> codec.
        model: dense model of the documents.
        encoder: sparse encoder of the documents.
        short: whether titles and some sentences are trained on, too.
        query_k: of the encoder.
        device: of torch, for the model.

    Raises:
        typer.BadParameter: options that do not go together.
        ConfigurationError: ``out`` holds something.
    """
    if source.endswith((".npy", ".npz")):
        if model is not None or encoder is not None or query_k is not None or short:
            raise typer.BadParameter("--model, --encoder, --query-k and --short go with documents")
        from sparseret.encoders.codecs import open_vectors
        from sparseret.train.codes import require_new_folder

        require_new_folder(out)
        codec = learn(open_vectors(source))
        codec.save(out)
        return codec.description
    if (model is None) == (encoder is None):
        raise typer.BadParameter(
            "documents need --model or --encoder; vectors are in a .npy or .npz file"
        )
    from sparseret.readers import read_documents

    show = sys.stderr.isatty()
    documents = (record.document for record in read_documents(source))
    if encoder is not None:
        from sparseret.registry import load_encoder
        from sparseret.train.sparse_codes import train_sparse_codes

        made = train_sparse_codes(
            load_encoder(resolve_encoder(encoder)), documents, out, learn,
            short=short, query_k=query_k, show_progress=show,
        )  # fmt: skip
        return made.description
    from sparseret.train.codes import train_codes

    return train_codes(
        model or "", documents, out, learn,
        short=short, query_k=query_k, device=device, show_progress=show,
    ).description  # fmt: skip
