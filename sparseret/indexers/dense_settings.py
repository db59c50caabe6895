"""How dense vectors are kept and searched: chosen once for an index, recorded in every segment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from sparseret.errors import ConfigurationError
from sparseret.indexers.quantiser_fit import check_code_bytes, default_code_bytes

__all__ = ["DenseKind", "DenseSettings", "Metric", "VectorPrecision"]

DenseKind = Literal["flat", "hnsw", "ivf-pq", "binary", "pq"]
Metric = Literal["cosine", "ip"]
VectorPrecision = Literal["float32", "float16"]

_RANGES = {"m": (2, 256), "ef_construction": (1, 10_000)}
_LEAST = {"n_lists": 1, "code_bytes": 1}


@dataclass(frozen=True)
class DenseSettings:
    """The dense side of an index.

    Attributes:
        kind: ``flat`` compares a query with every vector. ``hnsw`` walks a graph of neighbours
            (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
            Hierarchical Navigable Small World graphs", 2018). ``ivf-pq`` reads the nearest of many
            lists of product-quantised vectors (Jégou, Douze and Schmid, "Product quantization for
            nearest neighbor search", 2011). These two need faiss. ``binary`` and ``pq``
            compare light codes in memory, of a bit a value or product-quantised, and read the
            vectors of the best candidates alone (:mod:`sparseret.indexers.dense_codes`). All
            answer exactly, too.
        metric: ``cosine`` normalises vectors and queries; ``ip`` takes them as they are. Either
            way, the score is the inner product of what is stored with the query.
        precision: of the stored vectors: 4 or 2 bytes a value.
        m: hnsw: neighbours of a vector, twice as many in the lowest layer; 4 bytes each.
        ef_construction: hnsw: candidates that are looked at to find them.
        n_lists: ivf-pq: lists; None for four times the square root of the number of vectors. A
            segment never has more than one for each 39 vectors, which is what training needs.
        code_bytes: bytes of a code. ivf-pq and pq: a divisor of the dimension; None for the
            largest that is at most a quarter of it, or an eighth. binary: up to an eighth of the
            dimension, which is the default; two more bytes hold a factor.
        quantiser: binary and pq: file of a quantiser that was learned
            (:meth:`sparseret.indexers.quantiser.Quantiser.save`). It is read when the index is
            made, which keeps a copy. None to fit one to the vectors of each segment.

    Raises:
        ConfigurationError: a value that it cannot take.
    """

    kind: DenseKind = "flat"
    metric: Metric = "cosine"
    precision: VectorPrecision = "float32"
    m: int = 32
    ef_construction: int = 200
    n_lists: int | None = None
    code_bytes: int | None = None
    quantiser: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("kind", get_args(DenseKind)),
            ("metric", get_args(Metric)),
            ("precision", get_args(VectorPrecision)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigurationError(f"{name} must be one of {', '.join(choices)}: {value!r}")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not _is_count(value) or not least <= value <= most:
                raise ConfigurationError(
                    f"{name} must be a whole number from {least} to {most}, got {value!r}"
                )
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and (not _is_count(value) or value < least):
                raise ConfigurationError(
                    f"{name} must be a whole number from {least} on, or None, got {value!r}"
                )

        if self.quantiser is not None and self.kind not in ("binary", "pq"):
            raise ConfigurationError(
                f"quantiser: a quantiser goes with kind binary or pq, not {self.kind}"
            )
        if not isinstance(self.quantiser, (str, type(None))):
            raise ConfigurationError(f"quantiser must be the name of a file: {self.quantiser!r}")

    @property
    def description(self) -> str:
        """In words, such as "hnsw, cosine, float16"."""
        return f"{self.kind}, {self.metric}, {self.precision}"

    def to_json(self) -> str:
        """The settings as a JSON object, the same text for the same settings."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DenseSettings:
        """Inverse of :meth:`to_json`.

        Raises:
            ConfigurationError: no JSON object, a field that does not exist, or a value it cannot
                take.
        """
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"dense settings are no JSON: {error}") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not values.keys() <= names:
            raise ConfigurationError(
                f"dense settings must be a JSON object with fields among {', '.join(sorted(names))}"
            )
        return cls(**values)

    def codes_for(self, dim: int) -> int:
        """Bytes of a code of vectors of ``dim`` values.

        Raises:
            ConfigurationError: ``code_bytes`` does not divide the dimension, or, for ``binary``, is
                more than an eighth of it.
        """
        if self.kind in ("binary", "pq"):
            if self.code_bytes is None:
                return default_code_bytes(self.kind, dim)
            check_code_bytes(self.kind, self.code_bytes, dim)
            return self.code_bytes
        if self.code_bytes is None:
            return next(size for size in range(max(1, dim // 4), 0, -1) if dim % size == 0)
        if dim % self.code_bytes:
            raise ConfigurationError(
                f"code_bytes={self.code_bytes} does not divide the dimension, {dim}: give a divisor"
            )
        return self.code_bytes


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
