"""One training loop for every encoder that learns."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, get_args

from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar
from sparseret.train import losses
from sparseret.train.pairs import Pair

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Objective", "Step", "Trainable", "TrainingSettings", "train_pairs"]

Objective = Literal["info_nce", "margin_mse", "kl"]


class Trainable(Protocol):
    """What training asks of a model."""

    @property
    def module(self) -> Module:
        """All weights to be learnt; put in training mode meanwhile."""

    def represent(self, queries: Sequence[str], documents: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors of queries and documents, shapes (n, dim) and (m, dim), differentiable.

        Both have the same columns, which may be those of this batch alone.
        """


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train.

    Attributes:
        steps: number of batches, at least 1; pairs are shuffled anew each time all have been seen.
        batch_size: pairs a batch, at least 2 for "info_nce", whose negatives come from there.
        learning_rate: of AdamW; rises linearly over the first tenth of the steps, then falls
            linearly to 0.
        weight_decay: of AdamW.
        objective: "info_nce" needs pairs alone; "margin_mse" and "kl" need negatives and a
            teacher's scores, the same number in each pair.
        scale: what scores are multiplied with before the loss.
        flops_queries: weight of :func:`sparseret.train.losses.flops` on queries.
        flops_documents: the same on documents.
        flops_warm_up: share of the steps over which both weights rise quadratically, 0 to 1.
        seed: of shuffling and dropout.

    Raises:
        ConfigurationError: a value out of its range.
    """

    steps: int = 200
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    objective: Objective = "info_nce"
    scale: float = 1.0
    flops_queries: float = 0.0
    flops_documents: float = 0.0
    flops_warm_up: float = 1 / 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise ConfigurationError(
                f"objective {self.objective!r} is not one of {', '.join(get_args(Objective))}"
            )
        least = 2 if self.objective == "info_nce" else 1
        if self.steps < 1 or self.batch_size < least:
            raise ConfigurationError(
                f"{self.objective} needs at least 1 step and batches of {least} pairs, got "
                f"{self.steps} and {self.batch_size}"
            )
        if self.learning_rate <= 0 or self.scale <= 0:
            raise ConfigurationError(
                f"learning_rate and scale must be above 0, got {self.learning_rate} and "
                f"{self.scale}"
            )
        if min(self.weight_decay, self.flops_queries, self.flops_documents) < 0:
            raise ConfigurationError("weight_decay and the weights of flops must be 0 or more")
        if not 0 <= self.flops_warm_up <= 1:
            raise ConfigurationError(f"flops_warm_up must be 0 to 1, got {self.flops_warm_up}")


class Step(NamedTuple):
    """What one step of training saw."""

    loss: float
    """Ranking loss, without regularisers."""
    query_terms: float
    """Mean number of non-zero columns of the batch's queries."""
    document_terms: float
    """The same of its documents."""


def train_pairs(
    model: Trainable,
    pairs: Sequence[Pair],
    settings: TrainingSettings | None = None,
    *,
    show_progress: bool = False,
) -> list[Step]:
    """Train a model in place; returns what each step saw. The same seed gives the same weights.

    Args:
        model: see :class:`Trainable`; ``UniCoilModel.start(folder)`` and the like make one.
        pairs: at least as many as a batch holds.
        settings: how; None for :class:`TrainingSettings` as they stand.
        show_progress: a bar on standard error.

    Raises:
        ConfigurationError: too few pairs, or pairs without the negatives or teacher's scores that
            the objective needs.
    """
    import torch

    settings = settings or TrainingSettings()
    _check(pairs, settings)
    module = model.module
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    rising = max(1, settings.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / rising, (settings.steps - step) / settings.steps),
    )
    was_training = module.training
    steps: list[Step] = []
    with (
        torch.random.fork_rng(devices=[]),
        progress_bar("Training", settings.steps, show=show_progress) as advance,
    ):
        torch.manual_seed(settings.seed)
        module.train()
        for number, batch in enumerate(_batches(pairs, settings)):
            loss, step = _loss(model, batch, settings, number)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
            steps.append(step)
            advance(1)
    module.train(was_training)
    return steps


def _loss(
    model: Trainable, batch: Sequence[Pair], settings: TrainingSettings, number: int
) -> tuple[Tensor, Step]:
    import torch

    texts = [pair.positive for pair in batch]
    texts += [text for pair in batch for text in pair.negatives]
    queries, documents = model.represent([pair.query for pair in batch], texts)
    scores = queries @ documents.T * settings.scale
    if settings.objective == "info_nce":
        same = [[other == pair.positive for other in texts] for pair in batch]
        excluded = torch.tensor(same, device=scores.device)
        excluded.fill_diagonal_(False)
        loss = losses.info_nce(scores, excluded=excluded)
    else:
        n, c = len(batch), len(batch[0].negatives)
        rows = torch.arange(n, device=scores.device)[:, None]
        own = n + rows * c + torch.arange(c, device=scores.device)
        candidates = scores[rows, torch.cat([rows, own], dim=1)]
        teacher = torch.tensor([pair.teacher for pair in batch], device=scores.device)
        distil = losses.margin_mse if settings.objective == "margin_mse" else losses.kl_distillation
        loss = distil(candidates, teacher)
    step = Step(
        loss=float(loss.detach()),
        query_terms=float((queries != 0).sum(dim=1).float().mean()),
        document_terms=float((documents != 0).sum(dim=1).float().mean()),
    )
    share = losses.quadratic_warm_up(number, round(settings.flops_warm_up * settings.steps))
    if settings.flops_queries:
        loss = loss + share * settings.flops_queries * losses.flops(queries)
    if settings.flops_documents:
        loss = loss + share * settings.flops_documents * losses.flops(documents)
    return loss, step


def _batches(pairs: Sequence[Pair], settings: TrainingSettings) -> Sequence[list[Pair]]:
    """As many batches as there are steps; within one pass over the pairs none comes twice."""
    shuffled = random.Random(settings.seed)
    batches: list[list[Pair]] = []
    order: list[int] = []
    for _ in range(settings.steps):
        if len(order) < settings.batch_size:
            order = shuffled.sample(range(len(pairs)), len(pairs))
        batches.append([pairs[order.pop()] for _ in range(settings.batch_size)])
    return batches


def _check(pairs: Sequence[Pair], settings: TrainingSettings) -> None:
    if len(pairs) < settings.batch_size:
        raise ConfigurationError(
            f"{len(pairs)} pairs do not fill a batch of {settings.batch_size}: "
            "give more, or a smaller batch_size"
        )
    if settings.objective == "info_nce":
        return
    n_negatives = len(pairs[0].negatives)
    for number, pair in enumerate(pairs):
        if len(pair.negatives) != n_negatives or len(pair.teacher) != n_negatives + 1:
            raise ConfigurationError(
                f"{settings.objective} needs the same number of negatives in every pair, and a "
                f"teacher's score of the positive and of each; pair {number} has "
                f"{len(pair.negatives)} negatives and {len(pair.teacher)} scores"
            )
        if not n_negatives:
            raise ConfigurationError(
                f"{settings.objective} needs negatives; pair {number} has none"
            )
