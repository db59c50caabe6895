"""How queries become codes: as documents do, or by products with the directions of latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sparseret.encoders.sparse_autoencoder import SparseAutoencoder
from sparseret.errors import ConfigurationError
from sparseret.protocols import Codec, Vectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["query_coder"]


def query_coder(codec: Codec, query_k: int | None) -> Callable[[Vectors], csr_array]:
    """What turns vectors of queries, shape (n, n_features), to sparse ones, shape (n, dim).

    Args:
        codec: of the documents.
        query_k: so many products (:meth:`~sparseret.encoders.sparse_autoencoder.\
SparseAutoencoder.project`); None for codes.

    Raises:
        ConfigurationError: the codec has no such products, or not so many.
    """
    if query_k is None:
        return codec.transform
    if not isinstance(codec, SparseAutoencoder):
        raise ConfigurationError(f"query_k={query_k!r}: the codec {codec.name} has no such option")
    return codec.directions(query_k).transform
