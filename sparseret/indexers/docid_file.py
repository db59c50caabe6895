"""The weights of a docid model, and the file that keeps them: one of safetensors, replaced whole.

Its arrays, for n documents, vectors of ``dim`` values and h hidden units: ``weights`` (float32,
(n, dim)), ``bias`` (float32, n), ``trained`` (uint8, n), ``hidden_in`` (float32, (h, dim)),
``hidden_out`` (float32, (dim, h)), ``ids`` (the bytes of all ids in UTF-8) and ``ends`` (int64, n:
where each id ends).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import (
    CorruptIndexError,
    IncompatibleIndexError,
    IndexExistsError,
    IndexLockedError,
    IndexNotFoundError,
    StorageError,
)
from sparseret.indexers.segment_writer import fsync_folder, storage_error

__all__ = ["DocidModel", "read_model", "write_model"]

_FORMAT, _VERSION = "sparseret-docids", 1
_SCALE = 20.0
_TYPES = {
    "weights": np.float32, "bias": np.float32, "trained": np.uint8, "hidden_in": np.float32,
    "hidden_out": np.float32, "ids": np.uint8, "ends": np.int64,
}  # fmt: skip


@dataclass(frozen=True)
class DocidModel:
    """An output layer of a row for each document, and what stands before it.

    Attributes:
        ids: of the documents.
        weights: w_d, float32, shape (n, dim).
        bias: b_d, float32, shape (n,).
        trained: whether training has seen the document, bool, shape (n,).
        hidden_in: A, float32, shape (h, dim); h is 0 where f is the identity.
        hidden_out: C, float32, shape (dim, h).
        space: id of the vector space.
        cosine: whether vectors and queries are scaled to the length 1.
        scale: t, what scores are multiplied by in the softmax.
    """

    ids: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    trained: NDArray[np.bool_]
    hidden_in: NDArray[np.float32]
    hidden_out: NDArray[np.float32]
    space: str
    cosine: bool
    scale: float = _SCALE

    @classmethod
    def empty(cls, dim: int, *, space: str, cosine: bool) -> DocidModel:
        """A model of no documents."""
        return cls(
            (), np.empty((0, dim), np.float32), np.empty(0, np.float32), np.empty(0, np.bool_),
            np.empty((0, dim), np.float32), np.empty((dim, 0), np.float32), space, cosine,
        )  # fmt: skip

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.weights.shape[1])

    def kept(self, mask: NDArray[np.bool_]) -> DocidModel:
        """The model of some of the documents, mask of shape (n,)."""
        return replace(
            self,
            ids=tuple(id for id, keep in zip(self.ids, mask.tolist(), strict=True) if keep),
            weights=self.weights[mask],
            bias=self.bias[mask],
            trained=self.trained[mask],
        )

    def extended(self, ids: list[str], vectors: NDArray[np.float32]) -> DocidModel:
        """The model with more documents, not trained; vectors of shape (len(ids), dim)."""
        return replace(
            self,
            ids=(*self.ids, *ids),
            weights=np.concatenate([self.weights, vectors]),
            bias=np.concatenate([self.bias, np.zeros(len(ids), np.float32)]),
            trained=np.concatenate([self.trained, np.zeros(len(ids), np.bool_)]),
        )


def write_model(file: Path, model: DocidModel, expected: str | None) -> str:
    """Replace the file, durably; returns the digest of the new one.

    Args:
        file: what to write.
        model: its content.
        expected: digest of what is to be replaced; None where there is to be no file.

    Raises:
        IndexExistsError: there is a file, and none was expected.
        IndexLockedError: another is written at the moment, or was since the expected one.
        StorageError: it cannot be written; what was there before is intact.
    """
    from filelock import FileLock, Timeout
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    encoded = [id.encode() for id in model.ids]
    arrays: dict[str, NDArray[Any]] = {
        "weights": model.weights, "bias": model.bias, "trained": model.trained,
        "hidden_in": model.hidden_in, "hidden_out": model.hidden_out,
        "ids": np.frombuffer(b"".join(encoded), np.uint8),
        "ends": np.fromiter(accumulate(map(len, encoded)), np.int64, len(encoded)),
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(a, _TYPES[name]) for name, a in arrays.items()}
    settings = {
        "format": _FORMAT, "version": str(_VERSION), "space": model.space,
        "cosine": str(int(model.cosine)), "scale": repr(model.scale),
    }  # fmt: skip
    digest = _digest(arrays, settings)
    new = file.with_name(f"{file.name}.new")
    try:
        with FileLock(file.with_name(f"{file.name}.lock"), timeout=0):
            _check_unchanged(file, expected)
            try:
                save_file(arrays, new, metadata={**settings, "sha256": digest})
                with new.open("rb+") as written:
                    os.fsync(written.fileno())
                new.replace(file)
                fsync_folder(file.parent)
            finally:
                new.unlink(missing_ok=True)
    except Timeout as error:
        raise IndexLockedError(f"another process or object is writing {file}: try again") from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(file, error) from error
    except SafetensorError as error:  # what it makes of errors of the system
        raise StorageError(f"cannot write {file}: {error}; what was there is intact") from error
    return digest


def read_model(file: Path) -> tuple[DocidModel, str]:
    """What a file holds, read into memory, and its digest.

    Raises:
        IndexNotFoundError: there is no such file.
        CorruptIndexError: it is truncated, altered, or holds something else.
        IncompatibleIndexError: a newer version of sparseret wrote it.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise IndexNotFoundError(f"{file}: no such file; DocidIndex.create makes one")
    try:
        with safe_open(file, framework="numpy") as opened:
            settings = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise CorruptIndexError(
            f"{file} cannot be read: {error}; restore it, or make the index again"
        ) from error
    try:
        digest = settings.pop("sha256", "")
        return _restored(settings, arrays, digest), digest
    except (KeyError, TypeError, ValueError, CorruptIndexError) as error:
        raise CorruptIndexError(
            f"{file} is no sound index of docids: {error}; restore it, or make the index again"
        ) from error


def _restored(settings: dict[str, str], arrays: dict[str, NDArray[Any]], digest: str) -> DocidModel:
    if settings.get("format") != _FORMAT:
        raise CorruptIndexError("it holds something else")
    if int(settings["version"]) > _VERSION:
        raise IncompatibleIndexError(
            f"written in version {settings['version']} of the format, and this sparseret reads up "
            f"to {_VERSION}: upgrade it"
        )
    if digest != _digest(arrays, settings):
        raise CorruptIndexError("it was altered")
    if {name: array.dtype for name, array in arrays.items()} != _TYPES:
        raise CorruptIndexError("it has other arrays")
    weights, hidden_in, ends = arrays["weights"], arrays["hidden_in"], arrays["ends"]
    n, dim = weights.shape
    shapes = {"bias": (n,), "trained": (n,), "ends": (n,), "hidden_in": (len(hidden_in), dim),
              "hidden_out": (dim, len(hidden_in))}  # fmt: skip
    if any(arrays[name].shape != shape for name, shape in shapes.items()):
        raise CorruptIndexError("its arrays do not fit each other")
    raw = arrays["ids"].tobytes()
    ids = tuple(raw[begin:end].decode() for begin, end in pairwise([0, *ends.tolist()]))
    if len({*ids}) != n:
        raise CorruptIndexError("an id is there twice")
    return DocidModel(
        ids, weights, arrays["bias"], arrays["trained"].astype(np.bool_), hidden_in,
        arrays["hidden_out"], settings["space"], settings["cosine"] == "1",
        float(settings["scale"]),
    )  # fmt: skip


def _check_unchanged(file: Path, expected: str | None) -> None:
    from safetensors import SafetensorError, safe_open

    if expected is None:
        if file.exists():
            raise IndexExistsError(f"{file} exists: open it, or choose another path")
        return
    found = None
    if file.is_file():
        try:
            with safe_open(file, framework="numpy") as opened:
                found = (opened.metadata() or {}).get("sha256")
        except SafetensorError:
            found = None
    if found != expected:
        raise IndexLockedError(
            f"{file} was changed or removed since it was opened: open it again and repeat the "
            "changes"
        )


def _digest(arrays: dict[str, NDArray[Any]], settings: dict[str, str]) -> str:
    digest = sha256(repr(sorted(settings.items())).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
