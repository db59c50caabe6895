"""Texts to codes of sparse vectors: a sparse encoder, and a codec over what it makes.

The columns of a learned sparse encoder are tokens; a codec learned from such vectors gathers tokens
that come together, so that a document is a few latents instead of some hundred tokens. A folder
holds ``encoder``, as its own ``save`` writes it, and ``codec``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret.documents import Document
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.latent_labels import latent_label, read_labels, write_labels
from sparseret.encoders.query_codes import query_coder
from sparseret.encoders.saved_folder import known_options, read_options, read_saved, write_settings
from sparseret.encoders.spaces import space_id
from sparseret.errors import ConfigurationError
from sparseret.protocols import Codec, CollectionEncoder, Encoder
from sparseret.registry import load_saved_encoder

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SparseCodesEncoder", "check_coded", "write_sparse_codes"]

_ENCODER_FOLDER, _CODEC_FOLDER = "encoder", "codec"


class SparseCodesEncoder:
    """A sparse encoder and a codec as an encoder (:class:`sparseret.protocols.Encoder`).

    Args:
        folder: as :func:`write_sparse_codes` wrote it.
        query_k: for queries, so many products of the vector with the directions of latents in place
            of a code, as of :class:`sparseret.encoders.codes.CodesEncoder`; None as it was saved,
            which is codes at first.

    Raises:
        ConfigurationError: no such folder, a codec that does not fit the encoder, or an option out
            of its range.
    """

    name = "sparse-codes"

    def __init__(self, folder: str | Path, *, query_k: int | None = None) -> None:
        self._root = Path(folder).absolute()
        self.sparse: Encoder = load_saved_encoder(self._root / _ENCODER_FOLDER)
        """Makes the vectors."""
        self.codec: Codec = load_codec(self._root / _CODEC_FOLDER)
        """Makes the codes of them."""
        self._n_features = check_coded(self.sparse)
        if self.codec.n_features != self._n_features:
            raise ConfigurationError(
                f"the vectors of {self.sparse.name} have {self._n_features} columns, and the codec "
                f"takes {self.codec.n_features}"
            )
        self._given = query_k
        if query_k is None:
            query_k = read_options(self._root).get("query_k")
        self.query_k = query_k
        self._code_queries = query_coder(self.codec, query_k)

    # --- identity ---------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen, as JSON values."""
        options: dict[str, Any] = {"folder": str(self._root)}
        return options if self._given is None else {**options, "query_k": self._given}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> SparseCodesEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        return cls(**known_options(cls, options))

    @cached_property
    def space(self) -> str:
        """Id of the vector space: that of the encoder, and the codec."""
        made = [self.sparse.space, self.codec.space, self.query_k]
        return space_id(self.name, made)

    @property
    def description(self) -> str:
        """One line for people."""
        return f"codes ({self.sparse.description}, {self.codec.description})"

    @property
    def dim(self) -> int:
        """Number of latents."""
        return self.codec.dim

    @property
    def signed(self) -> bool:
        """Whether codes may hold negative values."""
        return self.codec.signed

    @property
    def truncated(self) -> int:
        """Texts of which tokens were left out, so far, where the encoder counts them."""
        return int(getattr(self.sparse, "truncated", 0))

    @property
    def license(self) -> str | None:
        """Licence of the encoder's model; None where it says nothing."""
        found: str | None = getattr(self.sparse, "license", None)
        return found

    def term(self, column: int) -> str:
        """Label of a latent where it has one (:mod:`sparseret.encoders.latent_labels`), else its
        number. Raises KeyError where there is no such column."""
        return latent_label(self._labels, column, self.dim)

    @cached_property
    def _labels(self) -> Mapping[int, str]:
        return read_labels(self._root / _CODEC_FOLDER)

    # --- vectors ----------------------------------------------------------------------------

    def document_vectors(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """What the codec is given of documents, float32, shape (len(documents), n_features)."""
        return self.sparse.encode_documents(documents, show_progress=show_progress)

    def query_vectors(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """The same of queries."""
        return self.sparse.encode_queries(queries, show_progress=show_progress)

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Codes of documents, float32, shape (len(documents), dim); errors of the encoder."""
        return self.codec.transform(self.document_vectors(documents, show_progress=show_progress))

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Codes of queries, float32, shape (len(queries), dim); errors of the encoder."""
        return self._code_queries(self.query_vectors(queries, show_progress=show_progress))

    # --- saving -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write encoder, codec and settings to a folder."""
        write_sparse_codes(path, self.sparse, self.codec, self._labels, query_k=self.query_k)

    @classmethod
    def load(cls, path: str | Path) -> SparseCodesEncoder:
        """Read what :meth:`save` wrote. Raises ConfigurationError where it cannot."""
        return cls(**known_options(cls, read_saved(Path(path), cls.name)))


def check_coded(encoder: Encoder) -> int:
    """Columns of an encoder whose vectors a codec can be learned from.

    Raises:
        ConfigurationError: its weights depend on the collection, or its columns are not settled:
            documents that are added would change the vectors of all others, and codes are kept.
    """
    if isinstance(encoder, CollectionEncoder) or encoder.dim is None:
        raise ConfigurationError(
            f"vectors of {encoder.name} change with the collection, and codes of them would not: "
            "take an encoder whose vectors do not, such as splade"
        )
    return encoder.dim


def write_sparse_codes(
    folder: str | Path,
    encoder: Encoder,
    codec: Codec,
    labels: Mapping[int, str],
    *,
    query_k: int | None = None,
) -> None:
    """Write a folder that :class:`SparseCodesEncoder` reads.

    Args:
        folder: where to.
        encoder: of texts; it is saved with it.
        codec: of the encoder's vectors.
        labels: of latents.
        query_k: of the encoder to be.

    Raises:
        ConfigurationError: see :func:`check_coded`, and ``query_k`` that the codec has not.
    """
    check_coded(encoder)
    query_coder(codec, query_k)
    out = Path(folder)
    encoder.save(out / _ENCODER_FOLDER)
    codec.save(out / _CODEC_FOLDER)
    write_labels(out / _CODEC_FOLDER, labels)
    write_settings(out, SparseCodesEncoder.name, {} if query_k is None else {"query_k": query_k})
