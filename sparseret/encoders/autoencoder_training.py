"""Training of k-sparse autoencoders on dense vectors, in memory or mapped from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparseret.encoders.autoencoder_batches import (
    Batch,
    read_arrays,
    read_batch,
    read_rows,
    shuffled_batches,
)
from sparseret.encoders.autoencoder_inputs import affinities_of
from sparseret.encoders.autoencoder_recipes import RECIPES, Recipe
from sparseret.encoders.autoencoder_state import AutoencoderState
from sparseret.encoders.autoencoder_steps import (
    Chosen,
    activations,
    choose_by_feature,
    choose_by_token,
    choose_mutually,
    contrastive_loss,
    decode,
    densify,
    geometric_median,
    zipf_quotas,
)
from sparseret.encoders.autoencoder_usage import LatentUsage
from sparseret.encoders.checkpoints import require_torch
from sparseret.encoders.options import whole_number
from sparseret.encoders.sparse_autoencoder import (
    AutoencoderWeights,
    SparseAutoencoder,
    standardize,
)
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar
from sparseret.protocols import Vectors

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Self

__all__ = ["AutoencoderTrainer", "Progress"]

_DEAD_AFTER = 50_000
_SAMPLE = 2**14
"""Vectors that the median is taken of, fewer where these are more values than the next."""
_SAMPLE_VALUES = 2**24
_MOST_WEIGHTS = 2**28
"""Of an encoder whose width was not given."""


class Progress(NamedTuple):
    """What a step came to."""

    reconstruction: float
    """Squared error by the variance of the batch."""
    dead: float
    """Share of latents that have not been chosen for long, 0 to 1."""


class AutoencoderTrainer:
    """Trains a :class:`~sparseret.encoders.sparse_autoencoder.SparseAutoencoder`.

    Args:
        dim: latents; None for four times the features, as in CSR.
        k: latents of a code.
        recipe: name of a published kind (:data:`~sparseret.encoders.autoencoder_recipes.RECIPES`),
            or parts of your own.
        epochs: passes over the vectors of :meth:`fit`.
        batch_size: vectors of a step.
        learning_rate: of Adam; comes down to 0 within the last fifth of :meth:`fit`.
        dead_after: vectors after which a latent that was not chosen counts as dead; None for
            50,000, or as many as :meth:`fit` is given where those are fewer.
        auxiliary_k: latents that reconstruct what is left over; None for half the features.
        normalize: whether each vector is given mean 0 and standard deviation 1 first.
        refit: of :class:`~sparseret.encoders.sparse_autoencoder.SparseAutoencoder`;
            no part of the training.
        seed: of the initial weights and of the order of vectors.
        device: of torch.

    Attributes:
        history: :class:`Progress` of each step.

    Raises:
        ConfigurationError: an option out of its range.
    """

    def __init__(
        self,
        dim: int | None = None,
        k: int = 32,
        recipe: str | Recipe = "csr",
        *,
        epochs: int = 10,
        batch_size: int = 1024,
        learning_rate: float = 1e-3,
        dead_after: int | None = None,
        auxiliary_k: int | None = None,
        normalize: bool = False,
        refit: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if isinstance(recipe, str):
            if recipe not in RECIPES:
                raise ConfigurationError(
                    f"recipe {recipe!r} is not one of {', '.join(sorted(RECIPES))}"
                )
            recipe = RECIPES[recipe]
        for name, value, least in (
            ("dim", dim, 2), ("k", k, 1), ("epochs", epochs, 1), ("batch_size", batch_size, 2),
            ("dead_after", dead_after, 1), ("auxiliary_k", auxiliary_k, 1),
        ):  # fmt: skip
            if value is not None:
                whole_number(name, value, least)
        if not 0 < learning_rate < 10:
            raise ConfigurationError(
                f"learning_rate must be above 0 and below 10, got {learning_rate!r}"
            )
        self.dim = dim
        self.k = k
        self.recipe = recipe
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dead_after = dead_after
        self.auxiliary_k = auxiliary_k
        self.normalize = normalize
        self.refit = refit
        self.seed = seed
        self.device = device
        self.history: list[Progress] = []
        self._state: AutoencoderState | None = None
        self._dead_after = dead_after or _DEAD_AFTER

    # --- training ---------------------------------------------------------------------------

    def fit(
        self,
        X: Vectors,  # noqa: N803
        *,
        positives: Vectors | None = None,
        gradients: Vectors | None = None,
        show_progress: bool = False,
    ) -> Self:
        """Train anew.

        Args:
            X: vectors, shape (n, n_features); a memory-mapped array is read in blocks. Of sparse
                ones a batch at a time is made dense, to be reconstructed; they are encoded as they
                are.
            positives: row i is what should be near row i of ``X``, for the contrastive loss; None
                for the vectors themselves. Same shape.
            gradients: row i is the gradient of a loss at row i of ``X``, as
                :func:`sparseret.encoders.autoencoder_batches.ranking_gradients` gives; needed by
                recipes that choose by it. Same shape.
            show_progress: whether a bar of the vectors seen is shown.

        Raises:
            VectorError: shapes that do not fit, or values that are not finite.
            ConfigurationError: fewer features or vectors than the options need.
            MissingExtraError: torch is not installed.
        """
        source, others = read_arrays(X, positives, gradients)
        n = source.shape[0]
        self._dead_after = self.dead_after or min(_DEAD_AFTER, n)
        self._state = None
        self.history = []
        self._start(source)
        rng = np.random.default_rng(self.seed)
        steps = self.epochs * -(-n // self.batch_size)
        with progress_bar("Training", self.epochs * n, show=show_progress) as advance:
            for _ in range(self.epochs):
                for rows in shuffled_batches(n, self.batch_size, rng):
                    batch = read_batch(source, others, rows)
                    self._train(batch, len(self.history) / steps)
                    advance(len(rows))
        return self

    def partial_fit(
        self,
        X: Vectors,  # noqa: N803
        *,
        positives: Vectors | None = None,
        gradients: Vectors | None = None,
    ) -> Self:
        """One pass over some vectors, in their order, at the full learning rate and final k.

        Arguments and errors are those of :meth:`fit`.
        """
        source, others = read_arrays(X, positives, gradients)
        if self._state is None:
            self._start(source)
        n = source.shape[0]
        for begin in range(0, n, self.batch_size):
            rows = np.arange(begin, min(begin + self.batch_size, n))
            self._train(read_batch(source, others, rows), None)
        return self

    @property
    def codec(self) -> SparseAutoencoder:
        """What was learned so far.

        Raises:
            ConfigurationError: nothing was.
        """
        state = self._state
        if state is None:
            raise ConfigurationError("the autoencoder has learned nothing: call fit(X) first")
        weights = state.average or state.weights
        arrays = {name: array.detach().cpu().numpy().copy() for name, array in weights.items()}
        if self.recipe.choice != "token":
            found = state.usage.thresholds_of_all(self.recipe.choice)
            arrays["thresholds"] = found.cpu().numpy().copy()
        return SparseAutoencoder(
            AutoencoderWeights(**arrays),
            self.k,
            activation=self.recipe.activation,
            normalize=self.normalize,
            refit=self.refit,
        )

    # --- a step -----------------------------------------------------------------------------

    def _start(self, source: Any) -> None:
        """Tied weights of unit length, and the geometric median as the bias of inputs."""
        require_torch("training an autoencoder")
        import torch

        n, n_features = source.shape
        dim = 4 * n_features if self.dim is None else self.dim
        if self.dim is None and dim * n_features > _MOST_WEIGHTS:
            raise ConfigurationError(
                f"vectors of {n_features} features need a number of latents: give dim, say 4096"
            )
        widest = 4 * self.k if self.recipe.wide_weight else self.k
        if widest > dim:
            raise ConfigurationError(
                f"k={self.k} needs at least {widest} latents with this recipe, and dim is {dim}"
            )
        if n < 2:
            raise ConfigurationError(f"{n} vectors are too few to learn from: give 2 or more")
        rng = np.random.default_rng(self.seed)
        most = max(2, min(n, _SAMPLE, _SAMPLE_VALUES // max(1, n_features)))
        sample = np.sort(rng.choice(n, most, replace=False))
        median = geometric_median(self._prepare(read_rows(source, sample)))
        rows = rng.standard_normal((dim, n_features))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)

        def parameter(array: NDArray[Any]) -> Tensor:
            tensor = torch.tensor(array, dtype=torch.float32, device=self.device)
            return tensor.requires_grad_()

        encoder = parameter(rows)
        decoder = None if self.recipe.tied else parameter(rows)
        pre_bias, latent_bias = parameter(median), parameter(np.zeros(dim))
        learned = [p for p in (encoder, decoder, pre_bias, latent_bias) if p is not None]
        # Gao et al., appendix A: so small an epsilon, as gradients of rare latents are small.
        optimizer = torch.optim.Adam(learned, lr=self.learning_rate, eps=6.25e-10)
        usage = LatentUsage(dim, self.device)
        self._state = AutoencoderState(encoder, decoder, pre_bias, latent_bias, optimizer, usage)

    def _prepare(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        return standardize(dense) if self.normalize else dense

    def _train(self, batch: Batch, done: float | None) -> None:
        """One step; ``done`` is the share of the training behind it, None where it is unknown."""
        import torch

        state, recipe = self._state, self.recipe
        if state is None or len(batch.inputs) < 2:
            return
        if batch.gradients is None and recipe.by_gradient:
            raise ConfigurationError("this recipe chooses latents by gradients: give gradients=")
        prepared = (
            self._prepare(batch.inputs),
            None if batch.positives is None else self._prepare(batch.positives),
            batch.gradients,
        )
        inputs, positives, gradients = (
            None if part is None else torch.from_numpy(part).to(self.device) for part in prepared
        )
        k = self.k
        if done is not None and recipe.first_k > 1:
            k = round(self.k * max(1.0, recipe.first_k + (1 - recipe.first_k) * 2 * done))
        k = min(k, len(state.encoder) // (4 if recipe.wide_weight else 1))
        for group in state.optimizer.param_groups:
            group["lr"] = self.learning_rate * (1 if done is None else min(1.0, 5 * (1 - done)))
        state.optimizer.zero_grad(set_to_none=True)

        sparse = None if self.normalize else batch.sparse
        loss, reconstruction = self._loss(state, inputs, sparse, positives, gradients, k)
        loss.backward()
        if state.decoder is not None:
            _remove_parallel(state.decoder)
        state.optimizer.step()
        with torch.no_grad():
            if state.decoder is not None:
                state.decoder /= state.decoder.norm(dim=1, keepdim=True).clamp(min=1e-12)
            state.note(self.recipe.average)
        dead = float((state.usage.idle > self._dead_after).float().mean())
        self.history.append(Progress(reconstruction, dead))

    def _loss(
        self,
        state: AutoencoderState,
        inputs: Any,
        sparse: Any,
        positives: Any,
        gradients: Any,
        k: int,
    ) -> Any:
        """The loss, and the normalised squared error of what was chosen."""
        import torch

        recipe = self.recipe
        dictionary = state.encoder if state.decoder is None else state.decoder
        centred = inputs - state.pre_bias
        with torch.no_grad():
            affinities = affinities_of(
                centred if sparse is None else sparse,
                state.encoder, state.pre_bias, state.latent_bias,
            )  # fmt: skip
            scores = affinities
            if recipe.by_gradient:
                scores = affinities * (gradients @ dictionary.T).abs()
        variance = (inputs - inputs.mean(dim=0)).square().mean().clamp(min=1e-12)

        def reconstruct(chosen: Chosen) -> tuple[Tensor, Tensor]:
            values = activations(affinities, centred, state.encoder, state.latent_bias, chosen)
            if recipe.activation == "relu":
                values = values.relu()
            return values, decode(values, dictionary, chosen)

        chosen = self._choose(state, scores, k)
        values, made = reconstruct(chosen)
        left = centred - made
        error = left.square().mean() / variance
        loss = error
        if recipe.wide_weight:
            _, wide = reconstruct(choose_by_token(scores, 4 * k))
            loss = loss + recipe.wide_weight * (centred - wide).square().mean() / variance
        rested = state.usage.rested(recipe.auxiliary, self._dead_after, self.batch_size)
        if bool(rested.any()):
            most = self.auxiliary_k or max(1, inputs.shape[1] // 2)
            hidden = affinities.masked_fill(~rested, float("-inf"))
            extra = choose_by_token(hidden, min(most, int(rested.sum())))
            _, rest = reconstruct(extra)
            target = left.detach()
            scale = (target - target.mean(dim=0)).square().mean().clamp(min=1e-12)
            auxiliary = (target - rest).square().mean() / scale
            if bool(torch.isfinite(auxiliary)):
                loss = loss + recipe.auxiliary_weight * auxiliary
        if recipe.contrastive_weight:
            codes = densify(values, chosen, len(state.encoder))
            near = codes
            if positives is not None:
                moved = positives - state.pre_bias
                with torch.no_grad():
                    others = moved @ state.encoder.T + state.latent_bias
                found = choose_by_token(others, k)
                near = activations(others, moved, state.encoder, state.latent_bias, found)
                near = densify(near.relu(), found, len(state.encoder))
            loss = loss + recipe.contrastive_weight * contrastive_loss(
                codes, near, recipe.temperature
            )
        kept = values.detach() > 0 if recipe.activation == "relu" else values.detach() != 0
        used = Chosen(chosen.rows[kept], chosen.columns[kept], chosen.n)
        state.usage.note(used, values.detach()[kept], self.recipe.choice)
        return loss, float(error.detach())

    def _choose(self, state: AutoencoderState, scores: Tensor, k: int) -> Chosen:
        if self.recipe.choice == "mutual":
            return choose_mutually(scores, k)
        if self.recipe.choice == "feature":
            n = len(scores)
            return choose_by_feature(scores, zipf_quotas(state.usage.counts, n * k, n))
        return choose_by_token(scores, k)


def _remove_parallel(decoder: Tensor) -> None:
    """Take out of the gradient of each row what lies along the row, whose length is fixed."""
    import torch

    if decoder.grad is not None:
        with torch.no_grad():
            along = (decoder.grad * decoder).sum(dim=1, keepdim=True)
            decoder.grad -= along * decoder
