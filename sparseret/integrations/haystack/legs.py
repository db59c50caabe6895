"""The legs of an index that a document store makes, and those that its retrievers search."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias
from weakref import WeakValueDictionary

from sparseret.encoders.carried import CarriedEncoder
from sparseret.errors import ConfigurationError, IndexNotFoundError
from sparseret.integrations.haystack.documents import EMBEDDING
from sparseret.legs import AnyEncoder
from sparseret.protocols import DenseEncoder
from sparseret.retriever import Retriever

__all__ = ["OpenIndex", "dense_leg", "open_or_create", "recorded", "sparse_leg", "text_legs"]

_TEXT, _EMBEDDING = "text", "embedding"

Encoders: TypeAlias = str | AnyEncoder | Mapping[str, str | AnyEncoder] | None


class OpenIndex:
    """An index that all stores of its folder in this process have in common.

    So they see one another's writes, and none holds the lock of the folder against another.
    """

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever
        self.writing = threading.RLock()
        """Held from looking at documents to writing others."""


_OPEN: WeakValueDictionary[tuple[int, Path], OpenIndex] = WeakValueDictionary()
"""By process, as one that is forked opens its own, and folder."""
_OPENING = threading.Lock()


def open_or_create(
    path: Path,
    encoder: Encoders,
    options: Mapping[str, Any],
    filter_fields: Sequence[str],
    dim: int | None,
    metric: Literal["cosine", "ip"],
) -> OpenIndex:
    """The index of a folder, made where there is none; arguments are those of the store.

    Raises:
        ConfigurationError: an index that is there has other encoders.
    """
    legs = _legs(encoder, dim, metric)
    key = (os.getpid(), path.resolve())
    with _OPENING:
        shared = _OPEN.get(key)
        if shared is not None and not shared.retriever.index.closed and path.is_dir():
            _check(shared.retriever, legs)
            return shared
        try:
            found = Retriever.open(path, _given(legs))
        except IndexNotFoundError:
            made = "bm25" if legs is None else legs
            if dim is not None and options and not isinstance(encoder, Mapping):
                options = {_TEXT: options}
            found = Retriever.create(
                path, made, encoder_options=options, filter_fields=filter_fields
            )
        try:
            _check(found, legs)
        except ConfigurationError:
            found.close()
            raise
        _OPEN[key] = shared = OpenIndex(found)
        return shared


def recorded(retriever: Retriever) -> dict[str, Any]:
    """Arguments of a store, as JSON values, that make the same legs again."""
    found = retriever.encoders
    texts = {n: e for n, e in found.items() if not isinstance(e, CarriedEncoder)}
    names: dict[str, str] = {name: encoder.name for name, encoder in texts.items()}
    options: dict[str, Any] = {name: dict(encoder.options) for name, encoder in texts.items()}
    carried = [e for e in found.values() if isinstance(e, CarriedEncoder)]
    return {
        "encoder": names.get("", names),
        "encoder_options": options.get("", options),
        "embedding_dim": carried[0].dim if carried else None,
        "embedding_metric": carried[0].metric if carried else "cosine",
    }


def text_legs(retriever: Retriever) -> list[str]:
    """Those that encode the text of a query."""
    encoders = retriever.encoders.items()
    return [name for name, encoder in encoders if not isinstance(encoder, CarriedEncoder)]


def dense_leg(retriever: Retriever) -> str:
    """The one that an embedding searches: that of the documents' own before that of a model.

    Raises:
        ConfigurationError: none, or several to choose from.
    """
    dense = {n: e for n, e in retriever.encoders.items() if isinstance(e, DenseEncoder)}
    own = [name for name, encoder in dense.items() if isinstance(encoder, CarriedEncoder)]
    return _only(own or list(dense), "dense vectors; make the store with embedding_dim")


def sparse_leg(retriever: Retriever, wanted: str | None = None) -> tuple[str, int]:
    """The one that a sparse embedding searches, that of the name ``wanted`` if any; and its width.

    Raises:
        ConfigurationError: none whose columns are fixed, or several to choose from.
    """
    widths = {
        name: encoder.dim
        for name, encoder in retriever.encoders.items()
        if not isinstance(encoder, DenseEncoder)
        and encoder.dim is not None
        and wanted in (None, name)
    }
    name = _only(list(widths), "sparse vectors whose columns are those of a model, as of SPLADE")
    return name, widths[name]


def _only(names: list[str], what: str) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigurationError(f"the index has no leg of {what}")
    raise ConfigurationError(f"name the leg to search: one of {', '.join(names)}")


def _legs(
    encoder: Encoders, dim: int | None, metric: Literal["cosine", "ip"]
) -> str | AnyEncoder | Mapping[str, str | AnyEncoder] | None:
    if dim is None:
        return encoder
    texts = encoder if isinstance(encoder, Mapping) else {_TEXT: encoder or "bm25"}
    if _EMBEDDING in texts:
        raise ConfigurationError(f"with embedding_dim, the leg {_EMBEDDING} is that of embeddings")
    return {**texts, _EMBEDDING: CarriedEncoder(EMBEDDING, dim, metric=metric)}


def _given(legs: Encoders) -> AnyEncoder | Mapping[str, AnyEncoder] | None:
    """What is an encoder already; names are in the record of an index."""
    if isinstance(legs, Mapping):
        return {
            name: encoder
            for name, encoder in legs.items()
            if not isinstance(encoder, (str, CarriedEncoder))
        }
    return None if isinstance(legs, str) else legs


def _check(found: Retriever, legs: Encoders) -> None:
    """Refuse an index that does not have the encoders that are asked for."""
    if legs is None:
        return
    asked = legs if isinstance(legs, Mapping) else {"": legs}
    there = found.encoders
    if asked.keys() != there.keys():
        raise ConfigurationError(
            f"{found.path} has the legs {list(there)}, not {list(asked)}: leave the encoders out "
            "to take what it has"
        )
    for leg, encoder in asked.items():
        name = encoder.partition(":")[0] if isinstance(encoder, str) else encoder.name
        same = there[leg].name == name
        if isinstance(encoder, CarriedEncoder):
            same = same and there[leg].options == encoder.options
        if not same:
            raise ConfigurationError(
                f"{found.path} was made with {there[leg].description}: leave encoder and "
                "embedding_dim out, or take another folder"
            )
