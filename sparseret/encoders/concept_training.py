r"""Training of a concept bottleneck on pairs of dense vectors that belong together.

With codes a_i of the vectors x_i and b_j of the vectors y_j, all of length 1, and t a temperature,
the losses are [1]_::

    S_ij = a_i . b_j / t
    contrastive    mean over i of  -log softmax_j(S_ij)_i  and of  -log softmax_i(S_ij)_j
    gumbel         the same of Gumbel-softmax: S_ij + G_ij in place of S_ij, divided by tau, where
                   each G_ij = -log(-log u), u uniform, is drawn anew for each direction [2]_
    l1             -log softmax_j(S_ij)_i, and a weight times the l1 norm of all scores above 0

In the paper a layer from concepts to concepts stands behind the similarities with the names, its
loss is added to the cross entropy of a classifier over it, the contrastive ones compare images
with concepts, and the l1 norm is that of the layer's weights. Here the directions of concepts move
themselves, from those of the names on: as linear a map with fewer parameters, and columns stay near
to what their names say, which :meth:`ConceptTrainer.fidelity` measures (a layer between concepts
soon mixes them so that they do not). The classifier is the choice of the right y among those of the
batch, the l1 norm that of the scores.

References:
    .. [1] Andrei Semenov, Vladimir Ivanov, Aleksandr Beznosikov, Alexander Gasnikov. Sparse Concept
       Bottleneck Models: Gumbel Tricks in Contrastive Learning. 2024, arXiv:2404.03323, and the
       authors' code (criterion_contrastive, criterion_gumbel, criterion_l1).
    .. [2] Eric Jang, Shixiang Gu, Ben Poole. Categorical Reparameterization with Gumbel-Softmax.
       ICLR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.encoders.autoencoder_batches import read_arrays, read_rows, shuffled_batches
from sparseret.encoders.autoencoder_steps import activations, choose_by_token, densify
from sparseret.encoders.checkpoints import require_torch
from sparseret.encoders.concepts import ConceptCodec
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Self

__all__ = ["ConceptLoss", "ConceptTrainer"]

ConceptLoss: TypeAlias = Literal["contrastive", "gumbel", "l1"]


@dataclass
class _State:
    """What changes from step to step."""

    first: NDArray[np.float32]
    """Directions before the training, shape (dim, n_features)."""
    scales: NDArray[np.float32]
    """Root mean squares of these, shape (dim, 1)."""
    bias: NDArray[np.float32]
    directions: Tensor
    """Divided by ``scales``."""
    optimizer: Any
    rng: np.random.Generator


class ConceptTrainer:
    """Moves the directions of a :class:`~sparseret.encoders.concepts.ConceptCodec`.

    Args:
        start: a codec, fitted to vectors of the kind before the training begins; it is not changed.
        loss: "contrastive", "gumbel" or "l1".
        temperature: t.
        gumbel_temperature: tau; for "gumbel".
        l1_weight: of the l1 norm; for "l1".
        epochs: passes over the vectors of :meth:`fit`.
        batch_size: pairs of a step.
        learning_rate: of Adam, over directions scaled to a mean square of 1; comes down to 0 within
            the last fifth of :meth:`fit`.
        seed: of the order of pairs and of Gumbel noise; the same seed gives the same directions.
        device: of torch.

    Attributes:
        history: loss of each step.

    Raises:
        ConfigurationError: an option out of its range.
    """

    def __init__(
        self,
        start: ConceptCodec,
        loss: ConceptLoss = "contrastive",
        *,
        temperature: float = 0.1,
        gumbel_temperature: float = 1.0,
        l1_weight: float = 0.1,
        epochs: int = 3,
        batch_size: int = 256,
        learning_rate: float = 0.05,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if loss not in get_args(ConceptLoss):
            raise ConfigurationError(
                f"loss {loss!r} is not one of {', '.join(get_args(ConceptLoss))}"
            )
        for name, value, least in (
            ("epochs", epochs, 1), ("batch_size", batch_size, 2), ("seed", seed, 0),
        ):  # fmt: skip
            whole_number(name, value, least)
        for name, number, most in (
            ("temperature", temperature, 100), ("gumbel_temperature", gumbel_temperature, 100),
            ("learning_rate", learning_rate, 10),
        ):  # fmt: skip
            if not 0 < number < most:
                raise ConfigurationError(f"{name} must be above 0 and below {most}, got {number!r}")
        if not 0 <= l1_weight < np.inf:
            raise ConfigurationError(f"l1_weight must be 0 or more, got {l1_weight!r}")
        self.start = start
        self.loss: ConceptLoss = loss
        self.temperature = temperature
        self.gumbel_temperature = gumbel_temperature
        self.l1_weight = l1_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed
        self.device = device
        self.history: list[float] = []
        self._state: _State | None = None

    # --- training ---------------------------------------------------------------------------

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        Y: ArrayLike,  # noqa: N803
        labels: ArrayLike | None = None,
        *,
        show_progress: bool = False,
    ) -> Self:
        """Train anew, from the directions of ``start``.

        Args:
            X: vectors, shape (n, n_features); a memory-mapped array is read in batches.
            Y: what they belong to, shape (m, n_features): vectors of documents for those of
                sentences from them, or of the names of classes; it may be mapped, too.
            labels: row of ``Y`` for each of ``X``, whole numbers, shape (n,); None where row i
                belongs to row i. Rows of one label are never each other's negatives.
            show_progress: whether a bar of the pairs seen is shown.

        Raises:
            VectorError: shapes or labels that do not fit, values that are not finite, or fewer than
                two labels in all.
            MissingExtraError: torch is not installed.
        """
        source, targets, rows_of_targets = self._read(X, Y, labels)
        self._state, self.history = None, []
        state = self._begin()
        n = len(rows_of_targets)
        steps = self.epochs * -(-n // self.batch_size)
        with progress_bar("Training", self.epochs * n, show=show_progress) as advance:
            for _ in range(self.epochs):
                for rows in shuffled_batches(n, self.batch_size, state.rng):
                    done = len(self.history) / steps
                    self._train(state, source, targets, rows, rows_of_targets, done)
                    advance(len(rows))
        return self

    def partial_fit(
        self,
        X: ArrayLike,  # noqa: N803
        Y: ArrayLike,  # noqa: N803
        labels: ArrayLike | None = None,
    ) -> Self:
        """One pass over some pairs, in their order, at the full learning rate.

        Arguments and errors are those of :meth:`fit`.
        """
        source, targets, rows_of_targets = self._read(X, Y, labels)
        state = self._state or self._begin()
        for begin in range(0, len(rows_of_targets), self.batch_size):
            rows = np.arange(begin, min(begin + self.batch_size, len(rows_of_targets)))
            self._train(state, source, targets, rows, rows_of_targets, 0.0)
        return self

    @property
    def codec(self) -> ConceptCodec:
        """What was learned so far. Raises ConfigurationError where nothing was."""
        state = self._learned
        directions = state.directions.detach().cpu().numpy() * state.scales
        return ConceptCodec(directions, self.start.names, self.start.k, bias=state.bias)

    def fidelity(self) -> NDArray[np.float32]:
        """Cosine of each direction with the one it started from, shape (dim,): near 1, a column
        still means what its name says. Raises ConfigurationError where nothing was learned."""
        old, new = self._learned.first, self.codec.directions
        products = np.einsum("jd,jd->j", old, new)
        lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
        made: NDArray[np.float32] = products / np.maximum(lengths, np.finfo(np.float32).tiny)
        return made

    @property
    def _learned(self) -> _State:
        if self._state is None:
            raise ConfigurationError("the concepts have learned nothing: call fit(X, Y) first")
        return self._state

    # --- a step -----------------------------------------------------------------------------

    def _read(self, X: Any, Y: Any, labels: Any) -> tuple[Any, Any, NDArray[np.int64]]:  # noqa: N803
        """Arrays that rows can be taken of, checked against one another, and labels."""
        (source, _), (targets, _) = read_arrays(X), read_arrays(Y)
        width = self.start.n_features
        for array in (source, targets):
            if array.shape[1] != width:
                raise VectorError(
                    f"vectors have {array.shape[1]} features, and the concepts {width}"
                )
        n, m = source.shape[0], targets.shape[0]
        found = np.arange(n) if labels is None else np.asarray(labels)
        if labels is None and n != m:
            raise VectorError(f"{n} vectors for {m}: give labels, or pairs row by row")
        if found.shape != (n,) or found.dtype.kind not in "iu":
            raise VectorError(f"labels must be {n} whole numbers, one a vector")
        if n and not (found.min() >= 0 and found.max() < m):
            raise VectorError(f"labels must be numbers of rows of Y, 0 to {m - 1}")
        rows = found.astype(np.int64)
        if len(np.unique(rows)) < 2:
            raise VectorError(f"{n} vectors of fewer than two labels: nothing to tell apart")
        return source, targets, rows

    def _begin(self) -> _State:
        require_torch("training concepts")
        import torch

        first = self.start.directions
        scales = np.sqrt(np.square(first, dtype=np.float64).mean(axis=1, keepdims=True))
        scales = np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float32)
        directions = torch.tensor(first / scales, device=self.device).requires_grad_()
        optimizer = torch.optim.Adam([directions], lr=self.learning_rate)
        rng = np.random.default_rng(self.seed)
        self._state = _State(first, scales, self.start.bias, directions, optimizer, rng)
        return self._state

    def _train(
        self, state: _State, source: Any, targets: Any, rows: NDArray[np.int64],
        rows_of_targets: NDArray[np.int64], done: float,
    ) -> None:  # fmt: skip
        """One step; ``done`` is the share of the training behind it."""
        import torch

        labels = rows_of_targets[rows]
        x, y = (
            torch.from_numpy(read_rows(array, numbers)).to(self.device)
            for array, numbers in ((source, rows), (targets, labels))
        )
        same = torch.from_numpy(labels[:, None] == labels[None, :]).to(self.device)
        excluded = same.fill_diagonal_(False)
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate * min(1.0, 5 * (1 - done))
        state.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(state, x, y, excluded)
        loss.backward()
        state.optimizer.step()
        self.history.append(float(loss.detach()))

    def _loss(self, state: _State, x: Tensor, y: Tensor, excluded: Tensor) -> Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        scales = torch.from_numpy(state.scales).to(self.device)
        bias = torch.from_numpy(state.bias).to(self.device)
        directions = state.directions * scales
        right = torch.arange(len(x), device=self.device)
        if self.loss == "l1":
            codes = [_scaled((part @ directions.T + bias).relu()) for part in (x, y)]
            found = (codes[0] @ codes[1].T / self.temperature).masked_fill(excluded, -torch.inf)
            norms = torch.cat(codes).sum(dim=1)
            loss: Tensor = cross_entropy(found, right) + self.l1_weight * norms.mean()
            return loss
        codes = [_scaled(self._chosen(part, directions, bias)) for part in (x, y)]
        similar = codes[0] @ codes[1].T / self.temperature
        losses = [
            cross_entropy(self._noisy(state, part).masked_fill(excluded, -torch.inf), right)
            for part in (similar, similar.T)
        ]
        both: Tensor = (losses[0] + losses[1]) / 2
        return both

    def _noisy(self, state: _State, similar: Tensor) -> Tensor:
        """What the softmax is taken of: with Gumbel noise where that is the loss."""
        import torch

        if self.loss != "gumbel":
            return similar
        drawn = state.rng.gumbel(size=tuple(similar.shape)).astype(np.float32)
        return (similar + torch.from_numpy(drawn).to(self.device)) / self.gumbel_temperature

    def _chosen(self, vectors: Tensor, directions: Tensor, bias: Tensor) -> Tensor:
        """Codes as the codec makes them, but for their lengths, shape (n, dim)."""
        import torch

        with torch.no_grad():
            affinities = vectors @ directions.T + bias
            chosen = choose_by_token(affinities, self.start.k)
        values = activations(affinities, vectors, directions, bias, chosen).relu()
        return densify(values, chosen, len(directions))


def _scaled(codes: Tensor) -> Tensor:
    import torch

    scaled: Tensor = torch.nn.functional.normalize(codes, dim=1)
    return scaled
