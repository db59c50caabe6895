r"""Learning of both stages of a two-stage search, from queries and the documents right for them.

**Light codes** (:func:`train_quantiser`): contrastive quantisation. With e(d) the entries that a
document's code stands for, and s(q, d) = (q R) . e(d) / t, rotation R and entries minimise ::

    mean over pairs of -log softmax_d s(q, d+)   over the documents of the batch

The choice of an entry has no gradient: R receives that of the entry, as if z = (d - mean) R itself
had been the entry (straight through; van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete
Representation Learning", NeurIPS 2017, section 3.2).

**Full vectors** (:func:`train_adapter`): a matrix A that queries are multiplied by, so that nothing
stored changes. The second stage tells apart what the first stage returns, which is all near the
query: its negatives are found by random walks from the right document over the graph of nearest
neighbours (locality-centric sampling).

Both after Xiao, Liu, Han et al., "Progressively Optimized Bi-Granular Document Representation for
Scalable Embedding Based Retrieval" (BiDR), WWW 2022, whose models are whole encoders; here vectors
are given, and linear maps are learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.encoders.checkpoints import require_torch
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.dense_exact import as_rows
from sparseret.indexers.quantiser import Quantiser
from sparseret.progress import progress_bar
from sparseret.train.losses import info_nce

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "TwoStageSettings",
    "nearest_neighbours",
    "train_adapter",
    "train_quantiser",
    "walk_negatives",
]

_BLOCK_SCORES = 2**24


@dataclass(frozen=True, slots=True)
class TwoStageSettings:
    """How to train.

    Attributes:
        steps: batches, at least 1; pairs are shuffled anew each time all have been seen.
        batch_size: pairs of a batch, at least 2.
        learning_rate: of Adam; falls linearly to 0.
        temperature: t, that scores are divided by.
        neighbours: of each document in the graph.
        hops: of a random walk.
        negatives: that are drawn for each pair by random walks.
        seed: of shuffling and walks.

    Raises:
        ConfigurationError: a value out of its range.
    """

    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 1e-3
    temperature: float = 0.05
    neighbours: int = 10
    hops: int = 2
    negatives: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1), ("batch_size", 2), ("neighbours", 1), ("hops", 1), ("negatives", 1),
            ("seed", 0),
        ):  # fmt: skip
            whole_number(name, getattr(self, name), least)
        if not (self.learning_rate > 0 and self.temperature > 0):
            raise ConfigurationError(
                "learning_rate and temperature must be above 0, got "
                f"{self.learning_rate} and {self.temperature}"
            )


class _Pairs(NamedTuple):
    queries: NDArray[np.float32]
    documents: NDArray[np.float32]
    positives: NDArray[np.int64]


def train_quantiser(
    start: Quantiser,
    queries: Any,
    documents: Any,
    positives: Any,
    settings: TwoStageSettings | None = None,
    *,
    show_progress: bool = False,
) -> Quantiser:
    """Another quantiser of the same kind and size, by which right documents come first.

    Args:
        start: as :func:`sparseret.indexers.quantiser_fit.fit_quantiser` makes it of the documents.
        queries: as they are multiplied (normalised for cosine), shape (m, dim): real ones, or
            titles and sentences of the documents.
        documents: as they are stored, shape (n, dim).
        positives: number of the document right for each query, shape (m,).
        settings: how; None for :class:`TwoStageSettings` as they stand.
        show_progress: a bar on standard error.

    Returns:
        The last state; the same input gives the same on the same machine.

    Raises:
        ConfigurationError: fewer pairs than a batch.
        VectorError: arrays that do not fit together.
        MissingExtraError: torch is not installed.
    """
    require_torch("learning of two-stage search")
    import torch

    settings = settings or TwoStageSettings()
    pairs = _check(queries, documents, positives, start.dim, settings)
    mean = torch.from_numpy(start.mean.copy())
    rotation = torch.from_numpy(start.rotation.copy()).requires_grad_()
    entries = torch.from_numpy(start.entries.copy()).requires_grad_(start.kind == "pq")
    learned = [rotation, entries] if start.kind == "pq" else [rotation]
    size = _scale(start, pairs)
    optimiser = _Optimiser(learned, settings)
    with progress_bar("Training", settings.steps, show=show_progress) as advance:
        for rows in _batches(len(pairs.queries), settings):
            numbers = pairs.positives[rows]
            turned = (torch.from_numpy(pairs.documents[numbers]) - mean) @ rotation
            code = _decoded(turned, entries, start.kind == "binary")
            scores = (torch.from_numpy(pairs.queries[rows]) @ rotation) @ code.T
            optimiser.step(_contrast(scores * (size / settings.temperature), numbers))
            advance(1)
    return Quantiser(
        start.kind, start.mean, rotation.detach().numpy(), entries.detach().numpy()
    )  # fmt: skip


def train_adapter(
    queries: Any,
    documents: Any,
    positives: Any,
    settings: TwoStageSettings | None = None,
    *,
    show_progress: bool = False,
) -> NDArray[np.float32]:
    """A matrix, shape (dim, dim), that queries are multiplied by from the right.

    Starts as the identity. Arguments and errors are those of :func:`train_quantiser`; documents
    are compared with each other once, which takes n² products.
    """
    require_torch("learning of two-stage search")
    import torch

    settings = settings or TwoStageSettings()
    width = np.shape(documents)[-1] if np.ndim(documents) == 2 else 0
    pairs = _check(queries, documents, positives, width, settings)
    near = nearest_neighbours(pairs.documents, min(settings.neighbours, len(pairs.documents) - 1))
    rng = np.random.default_rng(settings.seed + 1)
    change = torch.zeros((width, width), requires_grad=True)
    optimiser = _Optimiser([change], settings)
    with progress_bar("Training", settings.steps, show=show_progress) as advance:
        for rows in _batches(len(pairs.queries), settings):
            numbers = pairs.positives[rows]
            walked = walk_negatives(near, numbers, settings.negatives, settings.hops, rng)
            candidates = np.concatenate([numbers, walked.ravel()])
            asked = torch.from_numpy(pairs.queries[rows])
            asked = torch.nn.functional.normalize(asked + asked @ change, dim=1)
            scores = asked @ torch.from_numpy(pairs.documents[candidates]).T
            optimiser.step(_contrast(scores / settings.temperature, candidates))
            advance(1)
    adapter: NDArray[np.float32] = np.eye(width, dtype=np.float32) + change.detach().numpy()
    return adapter


def nearest_neighbours(documents: NDArray[np.float32], n_neighbours: int) -> NDArray[np.int64]:
    """Numbers of the documents of the largest products with each, itself left out: (n, m)."""
    n = len(documents)
    found = np.empty((n, n_neighbours), np.int64)
    size = max(1, _BLOCK_SCORES // n)
    for begin in range(0, n, size):
        block = documents[begin : begin + size]
        products = block @ documents.T
        products[np.arange(len(block)), begin + np.arange(len(block))] = -np.inf
        found[begin : begin + size] = kernels.top_k(products, n_neighbours).columns
    return found


def walk_negatives(
    neighbours: NDArray[np.int64],
    starts: NDArray[np.int64],
    n_negatives: int,
    hops: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Where random walks from some documents end, shape (len(starts), n_negatives).

    A walk that comes back to its start goes to one of its neighbours instead.

    Args:
        neighbours: of each document, none of them itself, shape (n, m).
        starts: documents.
        n_negatives: walks from each.
        hops: of a walk, at least 1.
        rng: of the walks.
    """
    width = neighbours.shape[1]
    first = np.repeat(starts[:, None], n_negatives, axis=1)
    at = first
    for _ in range(hops):
        at = neighbours[at, rng.integers(0, width, at.shape)]
    return np.where(at == first, neighbours[first, rng.integers(0, width, at.shape)], at)


class _Optimiser:
    """Adam, with a rate that falls linearly to 0."""

    def __init__(self, weights: list[Tensor], settings: TwoStageSettings) -> None:
        import torch

        self._adam = torch.optim.Adam(weights, lr=settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.LinearLR(
            self._adam, 1.0, 0.0, total_iters=settings.steps
        )

    def step(self, loss: Tensor) -> None:
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self._schedule.step()


def _decoded(turned: Tensor, entries: Tensor, binary: bool) -> Tensor:
    """What codes stand for, shape (n, width); its gradient goes to entries and to ``turned``."""
    import torch

    if binary:
        signs = torch.where(turned > 0, 1.0, -1.0)
        sizes = turned.abs()
        factors = ((sizes**2).sum(1) / sizes.sum(1).clamp_min(1e-30)).detach()
        # Values well beyond 1 keep their sign whatever happens to them.
        soft = turned.clamp(-1, 1)
        return (signs + (soft - soft.detach())) * factors[:, None]
    n, (code_bytes, _, width) = len(turned), entries.shape
    parts = turned.reshape(n, code_bytes, width)
    with torch.no_grad():
        products = torch.einsum("nmw,mew->nme", parts, entries)
        products -= (entries**2).sum(2) / 2
        chosen = products.argmax(dim=2)
    picked = entries[torch.arange(code_bytes), chosen]
    return (picked + (parts - parts.detach())).reshape(n, -1)


def _contrast(scores: Tensor, numbers: NDArray[np.int64]) -> Tensor:
    """InfoNCE over all documents of the batch; other copies of the right one take no part."""
    import torch

    excluded = torch.from_numpy(numbers[: len(scores), None] == numbers[None, :])
    excluded.fill_diagonal_(False)
    return info_nce(scores, excluded=excluded)


def _scale(start: Quantiser, pairs: _Pairs) -> float:
    """What scores of codes are multiplied by to be about products of the centred vectors."""
    rows = pairs.positives[: 2**12]
    turned = (pairs.documents[rows] - start.mean).astype(np.float64)
    norms = (turned @ start.rotation) ** 2
    return float((turned**2).sum() / max(norms.sum(), 1e-30))


def _batches(n: int, settings: TwoStageSettings) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(settings.seed)
    made: list[NDArray[np.int64]] = []
    order = np.empty(0, np.int64)
    for _ in range(settings.steps):
        if len(order) < settings.batch_size:
            order = rng.permutation(n)
        made.append(order[: settings.batch_size])
        order = order[settings.batch_size :]
    return made


def _check(
    queries: Any, documents: Any, positives: Any, dim: int, settings: TwoStageSettings
) -> _Pairs:
    asked, known = as_rows(queries, dim, "queries"), as_rows(documents, dim, "documents")
    numbers = np.asarray(positives)
    if numbers.shape != (len(asked),) or numbers.dtype.kind not in "iu":
        raise VectorError(
            f"positives must be a whole number for each of {len(asked)} queries, got "
            f"{numbers.dtype} of shape {numbers.shape}"
        )
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(known):
        raise VectorError(f"positives must be numbers of documents, 0 to {len(known) - 1}")
    if len(asked) < settings.batch_size or len(known) < 2:
        raise ConfigurationError(
            f"{len(asked)} pairs do not fill a batch of {settings.batch_size} (and two documents "
            "are the least): give more pairs, or a smaller batch_size"
        )
    return _Pairs(asked, known, numbers.astype(np.int64))
