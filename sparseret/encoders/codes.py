"""Texts to sparse codes: a dense model of sentence-transformers, and a codec over its vectors.

Three layouts are read. A folder of sentence-transformers' SparseEncoder whose last module is a
SparseAutoEncoder ("CSR") holds both. A folder that this package has saved holds a dense model
(Transformer, Pooling, Normalize), and a codec in the folder ``codec``. With the option ``codec``,
the two are in different places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.encoders.codecs import CODEC_FILE, load_codec
from sparseret.encoders.concepts import ConceptCodec
from sparseret.encoders.csr_layout import (
    has_csr_layout,
    read_csr_module,
    write_csr_module,
    write_dense,
)
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.latent_labels import latent_label, read_labels, write_labels
from sparseret.encoders.model_folder import find_folder, read_license, read_modules
from sparseret.encoders.query_codes import query_coder
from sparseret.encoders.saved_folder import (
    Module,
    copy_license,
    known_options,
    read_options,
    read_saved,
    saved_name,
    write_modules,
    write_settings,
)
from sparseret.encoders.spaces import space_id
from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
from sparseret.errors import ConfigurationError
from sparseret.protocols import Codec

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["CodesEncoder"]

_CODEC_FOLDER = "codec"
_CSR_MODULE = "SparseAutoEncoder"


class CodesEncoder:
    """A dense text model and a codec as an encoder (:class:`sparseret.protocols.Encoder`).

    Weights of the model are loaded at the first text. Empty texts have empty vectors.

    Args:
        folder: of the model, or the id of such a repository of the Hugging Face Hub.
        codec: folder of a codec (:func:`sparseret.encoders.codecs.load_codec`) of that model's
            vectors; None where it is with the model.
        k: latents that a code keeps, where the codec is an autoencoder; None as it was saved.
        query_k: for queries, so many products of the vector with the directions of latents in place
            of a code (:meth:`~sparseret.encoders.sparse_autoencoder.SparseAutoencoder.project`);
            None as it was saved, which is codes at first. A few times k ranks more as the dense
            vectors do.
        max_length: tokens of a text that are read; None takes what the folder says, else 256.
            Longer texts are cut, and counted in :attr:`truncated`.
        batch_tokens: tokens that go through the model at a time.
        device: of torch.

    The last two say how to run, not what comes out, and are not part of :attr:`options`.

    Raises:
        ConfigurationError: no such model or codec, one that does not fit the other, or an option
            out of its range.
    """

    name = "codes"

    def __init__(
        self,
        folder: str | Path,
        *,
        codec: str | Path | None = None,
        k: int | None = None,
        query_k: int | None = None,
        max_length: int | None = None,
        batch_tokens: int = 4096,
        device: str = "cpu",
    ) -> None:
        self._root = root = find_folder(folder)
        modules = read_modules(root)
        last = modules.routes["document"][-1:]
        self._codec_folder: Path | None = None
        found: Codec
        beside = root / _CODEC_FOLDER
        if codec is not None or (beside / CODEC_FILE).exists():
            self._codec_folder = beside if codec is None else Path(codec).absolute()
            found = load_codec(self._codec_folder)
        elif last and last[0].kind == _CSR_MODULE:
            found = read_csr_module(last[0].folder, modules.max_active_dims)
        else:
            raise ConfigurationError(
                f"{root} is a model of dense vectors: give the option codec, a folder written by "
                "`sparseret train`"
            )
        if k is not None:
            if not isinstance(found, SparseAutoencoder):
                raise ConfigurationError(f"k={k!r}: the codec {found.name} has no such option")
            found = found.with_k(k)
        if query_k is None and codec is None:
            query_k = read_options(root).get("query_k")
        self.query_k = query_k
        self._code_queries = query_coder(found, query_k)
        self.codec = found
        """Turns the model's vectors into sparse ones."""
        self.dense = load_dense(
            root,
            max_length=max_length,
            batch_tokens=batch_tokens,
            device=device,
            without=_CSR_MODULE,
        )
        """The model."""
        if self.dense.n_features != found.n_features:
            raise ConfigurationError(
                f"the vectors of {root} have {self.dense.n_features} features, and the codec takes "
                f"{found.n_features}"
            )
        self.license = read_license(root)
        """Licence of the model by the folder's own word; None where it says nothing."""
        self._options: dict[str, Any] = {
            "folder": saved_name(folder, root),
            "codec": None if codec is None else str(self._codec_folder),
            "k": k,
            "query_k": query_k,
            "max_length": self.dense.max_length,
        }

    # --- identity ---------------------------------------------------------------------------

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen and changes vectors, as JSON values."""
        return {name: value for name, value in self._options.items() if value is not None}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CodesEncoder:
        """Undo :attr:`options`. Raises ConfigurationError for an unknown one."""
        return cls(**known_options(cls, options))

    @cached_property
    def space(self) -> str:
        """Id of the vector space: model, tokenizer, settings and codec."""
        made = [self.dense.identity, self.codec.space, self.query_k]
        return space_id(self.name, made)

    @property
    def description(self) -> str:
        """One line for people."""
        dense = f"{self._root.name}, {self.dense.max_length} tokens"
        return f"codes ({dense}, {self.codec.description})"

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
        """Texts of which tokens were left out, so far."""
        return self.dense.truncated

    def term(self, column: int) -> str:
        """Name of a concept, label of a latent (:mod:`sparseret.encoders.latent_labels`), or the
        number of one that has none. Raises KeyError where there is no such column."""
        return latent_label(self._labels, column, self.dim)

    @cached_property
    def _labels(self) -> Mapping[int, str]:
        if isinstance(self.codec, ConceptCodec):
            return dict(enumerate(self.codec.names))
        return read_labels(self._codec_folder or self._root)

    # --- vectors ----------------------------------------------------------------------------

    def encode_documents(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> csr_array:
        """Codes of documents, title and text read as one, float32, shape (len(documents), dim).

        Raises:
            ConfigurationError: the model cannot be used.
            MissingExtraError: torch or transformers is not installed.
        """
        return self.codec.transform(self.document_vectors(documents, show_progress=show_progress))

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Codes of queries, float32, shape (len(queries), dim); errors as for documents."""
        return self._code_queries(self.query_vectors(queries, show_progress=show_progress))

    def document_vectors(
        self, documents: Sequence[Document | str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """What the codec is given of documents, shape (len(documents), n_features)."""
        return self.dense.document_vectors(documents, show_progress=show_progress)

    def query_vectors(
        self, queries: Sequence[str], *, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """The same of queries."""
        return self.dense.query_vectors(queries, show_progress=show_progress)

    # --- saving -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write model, codec and settings to a folder.

        sentence-transformers reads it as a SparseEncoder where the codec is an autoencoder of its
        kind (one matrix, ReLU, k largest), else as the dense model without the codec.
        """
        out = Path(path)
        modules = write_dense(out, self.dense)
        own: dict[str, Any] = {"max_length": self.dense.max_length}
        if self.query_k is not None:
            own["query_k"] = self.query_k
        active = None
        if isinstance(self.codec, SparseAutoencoder) and has_csr_layout(self.codec):
            place = f"{len(modules)}_{_CSR_MODULE}"
            modules.append(Module(write_csr_module(out / place, self.codec), place))
            active = self.codec.k
        else:
            self.codec.save(out / _CODEC_FOLDER)
        prompts = (self.dense.document_prompt, self.dense.query_prompt)
        write_modules(out, modules, prompts, max_active_dims=active)
        write_settings(out, self.name, own)
        write_labels(out if active is not None else out / _CODEC_FOLDER, self._labels)
        copy_license(self._root, out)

    @classmethod
    def load(cls, path: str | Path) -> CodesEncoder:
        """Read what :meth:`save` wrote. Raises ConfigurationError where it cannot."""
        return cls(**known_options(cls, read_saved(Path(path), cls.name)))
