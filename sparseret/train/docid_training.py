r"""Training of a docid model: vectors of texts, each with the documents that are right for it.

With s and t of :mod:`sparseret.indexers.docid_model`, R the right documents of a vector x, the
loss of an example is the cross entropy with the uniform distribution over R::

    L(x, R) = log sum over d of exp(t s(x, d))  -  mean over d in R of  t s(x, d)

which for one right document is that of DynamicRetriever, whose examples are passages of a document,
terms sampled from it, and queries that it answers. Over many documents the sum may go over some of
them, drawn for each step: the right documents of the batch, and others, uniformly (``candidates``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparseret.encoders.autoencoder_batches import read_arrays, read_rows, shuffled_batches
from sparseret.encoders.checkpoints import require_torch
from sparseret.encoders.options import whole_number
from sparseret.errors import ConfigurationError, VectorError
from sparseret.indexers.docid_model import DocidIndex, DocidModel
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Self

__all__ = ["DocidStart", "DocidTrainer"]

DocidStart: TypeAlias = Literal["current", "random"]

_HIDDEN_GAIN = 4.0
"""Inputs of length 1 have products of about this over sqrt(dim) with rows of A: for these, the
linear part of the layer and the kinks are of a size."""
_EPSILON = 1e-3
"""Of Adam, far above its 1e-8. With that, rows go as far for gradients next to nothing as for large
ones, so all documents that are right for no example are pushed away from all examples; this leaves
them about where they were, which is where documents that are added later are, too."""
_FADING = 5
"""The learning rate comes down over the last one of so many parts."""


class _Examples(NamedTuple):
    """Vectors, and the rows of their right documents one after the other."""

    vectors: Any
    rows: NDArray[np.int64]
    ends: NDArray[np.int64]
    """Where the rows of each vector end, and a 0 before, shape (n + 1,)."""

    def right(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Right rows of some examples, and which of these each is of."""
        counts = self.ends[chosen + 1] - self.ends[chosen]
        owners = np.repeat(np.arange(len(chosen)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.rows[self.ends[chosen][owners] + within], owners


class _Parts(NamedTuple):
    """Tensors of a model."""

    weights: Tensor
    bias: Tensor
    hidden_in: Tensor
    hidden_out: Tensor


class DocidTrainer:
    """Trains the model of a :class:`~sparseret.indexers.docid_model.DocidIndex`.

    Args:
        start: from the rows there are, which are dense vectors at first ("OverDense" of the
            paper), or from random ones of length 1 ("Vanilla").
        hidden: units of the layer f; 0 for none. A model that has some keeps them.
        scale: t.
        epochs: passes over the examples.
        batch_size: examples of a step.
        learning_rate: of Adam; comes down to 0 within the last fifth of the steps.
        candidates: documents that are drawn for each step's softmax, beside the right ones; None
            for all documents. All of them are moved by Adam, drawn or not.
        seed: of the order of examples and of all that is drawn. The same seed gives the same model,
            on one thread of a CPU.
        device: of torch.

    Attributes:
        history: mean loss of each pass.

    Raises:
        ConfigurationError: an option out of its range.
    """

    def __init__(
        self,
        *,
        start: DocidStart = "current",
        hidden: int = 0,
        scale: float = 20.0,
        epochs: int = 10,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        candidates: int | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if start not in get_args(DocidStart):
            raise ConfigurationError(f"start {start!r} is not one of current, random")
        for name, value, least in (
            ("hidden", hidden, 0), ("epochs", epochs, 1), ("batch_size", batch_size, 1),
            ("candidates", 1 if candidates is None else candidates, 1), ("seed", seed, 0),
        ):  # fmt: skip
            whole_number(name, value, least)
        for name, number, most in (("scale", scale, 1000), ("learning_rate", learning_rate, 10)):
            if not 0 < number < most:
                raise ConfigurationError(f"{name} must be above 0 and below {most}, got {number!r}")
        self.start: DocidStart = start
        self.hidden = hidden
        self.scale = float(scale)
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.candidates = candidates
        self.seed = seed
        self.device = device
        self.history: list[float] = []

    def fit(
        self,
        index: DocidIndex,
        X: ArrayLike,  # noqa: N803
        right: Sequence[Sequence[str]],
        *,
        show_progress: bool = False,
    ) -> Self:
        """Train on examples; searches of the index see it after its ``commit``.

        Args:
            index: without changes that were not committed.
            X: vectors, shape (n, dim); a memory-mapped array is read in batches.
            right: ids of the documents that are right for each vector, one or more, all of them in
                the index and with a vector other than zero.
            show_progress: whether a bar of the examples seen is shown.

        Raises:
            VectorError: shapes that do not fit, values that are not finite, or training that ends
                in such values.
            ConfigurationError: no examples, one without right documents, or with one that the
                index lacks; fewer than two documents; or a layer of another size.
            MissingExtraError: torch is not installed.
        """
        require_torch("training a docid model")
        model = index.model
        examples = self._read(model, X, right)
        rng = np.random.default_rng(self.seed)
        parts = self._begin(model, rng)
        index.learn(self._train(model, parts, examples, rng, show=show_progress))
        return self

    # --- before -----------------------------------------------------------------------------

    def _read(self, model: DocidModel, X: Any, right: Sequence[Sequence[str]]) -> _Examples:  # noqa: N803
        source, _ = read_arrays(X)
        if source.shape != (len(right), model.dim):
            raise VectorError(
                f"vectors of shape {source.shape}, expected ({len(right)}, {model.dim}): one for "
                "each list of right documents"
            )
        found: NDArray[np.bool_] = np.any(model.weights != 0, axis=1)
        if int(found.sum()) < 2:
            raise ConfigurationError(
                "the index has fewer than two documents with a vector: add and commit them first"
            )
        places = {id: place for place, id in enumerate(model.ids) if found[place]}
        rows: list[int] = []
        ends = [0]
        for number, ids in enumerate(right):
            if isinstance(ids, str) or not len(ids):
                raise ConfigurationError(
                    f"example {number} has {ids!r} for right documents, expected a list of ids"
                )
            for id in ids:
                if id not in places:
                    raise ConfigurationError(
                        f"example {number}: the index has no document {id!r} with a vector; leave "
                        "it out, or add it and commit first"
                    )
                rows.append(places[id])
            ends.append(len(rows))
        if not rows:
            raise ConfigurationError("there are no examples to train on")
        return _Examples(source, np.array(rows, np.int64), np.array(ends, np.int64))

    def _begin(self, model: DocidModel, rng: np.random.Generator) -> _Parts:
        import torch

        units = len(model.hidden_in)
        if units and self.hidden not in (0, units):
            raise ConfigurationError(
                f"the model has {units} hidden units and keeps them: leave hidden out, or make the "
                "index again"
            )
        weights, bias = model.weights, model.bias
        if self.start == "random":
            drawn = rng.standard_normal(weights.shape)
            drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
            # A document without a vector stays without.
            weights = np.where(weights.any(axis=1, keepdims=True), drawn, 0).astype(np.float32)
            bias = np.zeros_like(bias)
        hidden_in, hidden_out = model.hidden_in, model.hidden_out
        if self.hidden and not units:
            drawn = rng.standard_normal((self.hidden, model.dim)) * _HIDDEN_GAIN / model.dim**0.5
            hidden_in = drawn.astype(np.float32)
            hidden_out = np.zeros((model.dim, self.hidden), np.float32)
        return _Parts(
            *(
                torch.tensor(array, device=self.device, requires_grad=True)
                for array in (weights, bias, hidden_in, hidden_out)
            )
        )

    # --- steps ------------------------------------------------------------------------------

    def _train(
        self, model: DocidModel, parts: _Parts, examples: _Examples, rng: np.random.Generator,
        *, show: bool,
    ) -> DocidModel:  # fmt: skip
        import torch

        optimizer = torch.optim.Adam([part for part in parts if part.numel()], eps=_EPSILON)
        found = np.flatnonzero(model.weights.any(axis=1))
        n = len(examples.ends) - 1
        steps, done = self.epochs * -(-n // self.batch_size), 0
        self.history = []
        with progress_bar("Training", self.epochs * n, show=show) as advance:
            for _ in range(self.epochs):
                total = 0.0
                for chosen in shuffled_batches(n, self.batch_size, rng):
                    for group in optimizer.param_groups:
                        group["lr"] = self.learning_rate * min(1.0, _FADING * (1 - done / steps))
                    optimizer.zero_grad(set_to_none=True)
                    loss = self._loss(model, parts, examples, chosen, self._drawn(found, rng))
                    loss.backward()
                    optimizer.step()
                    total += float(loss.detach()) * len(chosen)
                    done += 1
                    advance(len(chosen))
                self.history.append(total / n)
        arrays = [part.detach().cpu().numpy() for part in parts]
        trained = model.trained.copy()
        trained[examples.rows] = True
        # Adam goes on moving rows that gave no gradient: those of blank documents have none at all.
        arrays[0][~model.weights.any(axis=1)] = 0
        return replace(
            model, weights=arrays[0], bias=arrays[1], hidden_in=arrays[2], hidden_out=arrays[3],
            trained=trained, scale=self.scale,
        )  # fmt: skip

    def _drawn(self, found: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of the documents that a step is about, beside the right ones; ascending."""
        if self.candidates is None or self.candidates >= len(found):
            return found
        return np.sort(rng.choice(found, self.candidates, replace=False))

    def _loss(
        self, model: DocidModel, parts: _Parts, examples: _Examples, chosen: NDArray[np.int64],
        drawn: NDArray[np.int64],
    ) -> Tensor:  # fmt: skip
        import torch

        inputs = read_rows(examples.vectors, chosen)
        if model.cosine:
            lengths = np.linalg.norm(inputs.astype(np.float64), axis=1, keepdims=True)
            inputs = (inputs / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        x = torch.from_numpy(inputs).to(self.device)
        if len(parts.hidden_in):
            x = x + (x @ parts.hidden_in.T).relu() @ parts.hidden_out.T
        right, owners = examples.right(chosen)
        rows = np.union1d(drawn, right)
        at, of = (
            torch.from_numpy(a).to(self.device) for a in (np.searchsorted(rows, right), owners)
        )
        weights, bias = parts.weights, parts.bias
        if len(rows) < len(model.ids):
            taken = torch.from_numpy(rows).to(self.device)
            weights, bias = weights[taken], bias[taken]
        logits = self.scale * (x @ weights.T + bias)
        shares = torch.from_numpy((1 / np.bincount(owners)[owners]).astype(np.float32))
        wanted = (logits[of, at] * shares.to(self.device)).sum()
        loss: Tensor = (logits.logsumexp(dim=1).sum() - wanted) / len(chosen)
        return loss
