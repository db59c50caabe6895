"""Every error sparseret raises on purpose; messages say what is wrong, where, and the remedy."""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "CorruptIndexError",
    "DatasetError",
    "DocumentError",
    "DuplicateIdError",
    "FilterError",
    "IncompatibleIndexError",
    "IndexExistsError",
    "IndexLockedError",
    "IndexNotFoundError",
    "LegError",
    "MissingExtraError",
    "ReaderError",
    "RerankError",
    "SparseretError",
    "StorageError",
    "VectorError",
]


class SparseretError(Exception):
    """Base of all errors of this package; catch it to catch them all."""


class ConfigurationError(SparseretError, ValueError):
    """An option that does not exist or a value it cannot take; the message lists what can."""


class VectorError(SparseretError, ValueError):
    """Vectors that no index can hold: NaN, wrong dimension, duplicate columns, overflow, ..."""


class DocumentError(SparseretError, ValueError):
    """A document or an input line that cannot be read; the message gives file, line and reason."""


class DuplicateIdError(DocumentError):
    """A document id that the index, or the same input, already has.

    Attributes:
        id: the id.
    """

    def __init__(self, message: str, id: str) -> None:
        super().__init__(message)
        self.id = id


class FilterError(SparseretError, ValueError):
    """A metadata filter that does not parse; the message points at the offending character."""


class LegError(SparseretError, RuntimeError):
    """A leg of an index could not encode or search.

    Attributes:
        leg: its name.
    """

    def __init__(self, message: str, leg: str) -> None:
        super().__init__(message)
        self.leg = leg


class RerankError(SparseretError, RuntimeError):
    """A re-ranker failed, or gave scores that are none.

    Attributes:
        reranker: its name.
    """

    def __init__(self, message: str, reranker: str) -> None:
        super().__init__(message)
        self.reranker = reranker


class ReaderError(SparseretError, RuntimeError):
    """A reader of evidence failed: its endpoint cannot be reached or refuses, or its model fails.

    Attributes:
        reader: its name.
    """

    def __init__(self, message: str, reader: str) -> None:
        super().__init__(message)
        self.reader = reader


class DatasetError(SparseretError, ValueError):
    """An evaluation dataset that is absent, incomplete or fails its checksum."""


class MissingExtraError(SparseretError, ImportError):
    """An optional dependency is absent.

    Args:
        package: the distribution that could not be imported.
        extra: the extra of sparseret that installs it.
        purpose: what it was needed for, as it reads after "needed for".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is needed for {purpose}; install it with: pip install 'sparseret[{extra}]'"
        )
        self.package = package
        self.extra = extra


class StorageError(SparseretError, OSError):
    """The file system refused: disk full, permissions, I/O error. What was committed is intact."""


class IndexNotFoundError(StorageError):
    """No index at the given path."""


class IndexExistsError(StorageError):
    """An index is already at the path where a new one was to be created."""


class IndexLockedError(StorageError):
    """Another process or object is writing to the index."""


class CorruptIndexError(SparseretError):
    """A file of the index is truncated, altered or foreign."""


class IncompatibleIndexError(SparseretError):
    """The index is sound but not for this use: newer format, or vectors of another space."""
