"""Codecs by name, and the folders they are kept in.

A codec turns dense vectors (or graphs, or other sparse vectors) into sparse ones
(:class:`sparseret.protocols.Codec`). Its folder holds ``codec.safetensors``: the arrays it has
learned and, as metadata, its name and what its constructor takes. A registered class is a
:class:`StoredCodec`, or offers ``from_saved(saved)``, the inverse of its ``save``.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Codec
from sparseret.vectors import check

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from typing_extensions import Self

__all__ = [
    "CODECS",
    "CODEC_FILE",
    "SavedCodec",
    "StoredCodec",
    "check_dense",
    "load_codec",
    "open_vectors",
    "read_codec",
    "write_codec",
]

CODECS: Mapping[str, str] = {
    "autoencoder": "sparseret.encoders.sparse_autoencoder:SparseAutoencoder",
    "concepts": "sparseret.encoders.concepts:ConceptCodec",
    "dictionary": "sparseret.encoders.dictionary:Dictionary",
    "discrete-sparse-coding": "sparseret.encoders.discrete_coding:DiscreteSparseCoding",
    "expansion-hashing": "sparseret.encoders.expansion_hashing:ExpansionHashing",
    "losse": "sparseret.encoders.losse:Losse",
    "random-projection": "sparseret.encoders.signed_projection:SignedProjection",
    "sdr-dense": "sparseret.encoders.sdr_dense:SdrCodec",
    "vq": "sparseret.encoders.vector_quantiser:VectorQuantiser",
}
"""Built-in codecs: name -> "module:Class"."""

_FORMAT = 1
CODEC_FILE = "codec.safetensors"
_NO_MATRIX = "{file} holds no sparse matrix, or was cut off; scipy.sparse.save_npz writes such"


class SavedCodec(NamedTuple):
    """What the folder of a codec holds."""

    name: str
    options: dict[str, Any]
    """JSON values."""
    arrays: dict[str, NDArray[Any]]
    """Learned; empty for a codec that learns nothing."""

    @property
    def space(self) -> str:
        """Stable id of the vector space: name, options, digest of the arrays."""
        digest = sha256(json.dumps([self.name, self.options], sort_keys=True).encode())
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return f"{self.name}/{digest.hexdigest()[:16]}"


class StoredCodec(ABC):
    """Base of codecs: what they are made of says how they are saved and what their space is."""

    @property
    @abstractmethod
    def _saved(self) -> SavedCodec:
        """What the constructor takes, and what was learned."""

    @property
    def space(self) -> str:
        """Stable id of the vector space: settings, digest of what was learned."""
        return self._saved.space

    def save(self, path: str | Path) -> None:
        """Write the codec to a folder (:func:`load_codec`)."""
        write_codec(path, self._saved)

    @classmethod
    def from_saved(cls, saved: SavedCodec) -> Self:
        """Undo :meth:`save`. Raises TypeError for what the constructor does not take."""
        return cls(**saved.arrays, **saved.options)


def write_codec(folder: str | Path, saved: SavedCodec) -> None:
    """Write a codec's folder: the new one is there whole, or what was there stays.

    Raises:
        OSError: the folder cannot be written.
    """
    from safetensors.numpy import save_file

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    metadata = {
        "codec": saved.name,
        "format": str(_FORMAT),
        "options": json.dumps(saved.options),
        "space": saved.space,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in saved.arrays.items()}
    new = target / f"{CODEC_FILE}.new"
    try:
        save_file(arrays, new, metadata=metadata)
        with new.open("rb+") as written:
            os.fsync(written.fileno())
        new.replace(target / CODEC_FILE)
    finally:
        new.unlink(missing_ok=True)


def load_codec(folder: str | Path) -> Codec:
    """Read a codec of any registered kind.

    Raises:
        ConfigurationError: no codec's folder, one that was altered, or of a newer version.
    """
    saved = read_codec(folder)
    if saved.name not in CODECS:
        raise ConfigurationError(
            f"{folder} holds a codec {saved.name!r}; known are {', '.join(sorted(CODECS))}"
        )
    module, _, attribute = CODECS[saved.name].partition(":")
    try:
        codec: Codec = getattr(import_module(module), attribute).from_saved(saved)
    except (KeyError, TypeError) as error:  # options or arrays that its constructor does not have
        raise ConfigurationError(
            f"{folder} holds no {saved.name} that is known here: {error}"
        ) from error
    return codec


def read_codec(folder: str | Path) -> SavedCodec:
    """Read what :func:`write_codec` wrote.

    Raises:
        ConfigurationError: no such file, or one that is truncated, altered, foreign or newer.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(folder) / CODEC_FILE
    if not file.exists():
        raise ConfigurationError(f"{file}: no such file; give the folder of a codec")
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    try:
        version, options = int(metadata["format"]), json.loads(metadata["options"])
        name, space = metadata["codec"], metadata["space"]
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"{file} does not describe a codec: {error!r}") from error
    if version != _FORMAT:
        raise ConfigurationError(
            f"{file} is of format {version}, and this version of sparseret reads {_FORMAT}: "
            "upgrade it"
        )
    saved = SavedCodec(name, options, arrays)
    if saved.space != space:
        raise ConfigurationError(f"{file} was altered; restore it, or train and save it again")
    return saved


def open_vectors(file: str | Path) -> NDArray[Any] | csr_array:
    """Vectors of a file, shape (n, n_features): dense ones of a .npy file, mapped and not read, or
    sparse ones of a .npz file, as scipy.sparse.save_npz writes it.

    Raises:
        VectorError: no such file, one that is no such file of numbers, or of another shape.
    """
    if Path(file).suffix == ".npz":
        return _open_sparse(file)
    try:
        vectors: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise VectorError(f"{file} cannot be read: {error.strerror or error}") from error
    except (EOFError, ValueError) as error:
        raise VectorError(
            f"{file} is no .npy file of numbers, or was cut off; numpy.save writes such"
        ) from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiub":
        raise VectorError(
            f"{file} holds {vectors.dtype} of shape {vectors.shape}, expected numbers of shape "
            "(n, n_features)"
        )
    return vectors


def _open_sparse(file: str | Path) -> csr_array:
    from zipfile import BadZipFile
    from zlib import error as ZlibError  # noqa: N812

    from scipy.sparse import load_npz

    try:
        return check(load_npz(file))
    except OSError as error:
        raise VectorError(f"{file} cannot be read: {error.strerror or error}") from error
    except (BadZipFile, EOFError, KeyError, ZlibError) as error:
        raise VectorError(_NO_MATRIX.format(file=file)) from error
    except VectorError as error:
        raise VectorError(f"{file}: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:  # other content, by SciPy and NumPy
        raise VectorError(_NO_MATRIX.format(file=file)) from error


def check_dense(
    vectors: ArrayLike, n_features: int | None = None, *, numbers: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Dense vectors as float32, shape (n, n_features), C-contiguous; a copy only where need be.

    Args:
        vectors: any numbers; memory-mapped arrays are read whole, so pass them in blocks.
        n_features: what the second axis must be; None for any.
        numbers: of the rows, for messages; None for 0 and so on.

    Raises:
        VectorError: not two-dimensional, of another width, or not finite in float32.
    """
    array: NDArray[Any] = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise VectorError(
            f"dense vectors must be numbers of shape (n, n_features), got {array.dtype} of shape "
            f"{array.shape}"
        )
    if n_features is not None and array.shape[1] != n_features:
        raise VectorError(f"vectors have {array.shape[1]} features, and the codec {n_features}")
    with np.errstate(over="ignore"):
        dense = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(dense).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise VectorError(
            f"vector {row if numbers is None else numbers[row]} holds NaN, an infinity or what "
            "float32 cannot hold: remove it or replace the value"
        )
    return dense
