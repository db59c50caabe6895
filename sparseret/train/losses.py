"""Losses of learned sparse retrieval, on torch tensors.

Ranking losses take scores, regularisers take activations, so that any model can be trained by any
of them. All are means over the batch, differentiable, of shape ().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["flops", "info_nce", "kl_distillation", "margin_mse", "quadratic_warm_up"]


def info_nce(scores: Tensor, *, excluded: Tensor | None = None) -> Tensor:
    """Softmax cross entropy of the right document among all documents of the batch.

    ``mean_i -log(exp(s_ii) / sum_j exp(s_ij))``; van den Oord, Li and Vinyals, "Representation
    Learning with Contrastive Predictive Coding", 2018; with in-batch negatives as in Formal,
    Piwowarski and Clinchant, "SPLADE", SIGIR 2021, section 3.2.

    Args:
        scores: shape (n, m), m at least n; the document right for query i is column i.
        excluded: bool, shape (n, m): pairs that are no negatives, such as a second copy of the
            right document; they take no part.
    """
    import torch

    if excluded is not None:
        scores = scores.masked_fill(excluded, float("-inf"))
    right = torch.arange(len(scores), device=scores.device)
    return torch.nn.functional.cross_entropy(scores, right)


def margin_mse(scores: Tensor, teacher: Tensor) -> Tensor:
    """Squared error of the margins between the right document and each negative.

    ``mean ((s_+ - s_-) - (t_+ - t_-))²``; Hofstätter, Althammer, Schröder, Sertkan and Hanbury,
    "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
    2020.

    Args:
        scores: of each query's own candidates, the right one first, shape (n, c).
        teacher: scores of the same by the teacher, shape (n, c).
    """
    margins = scores[:, :1] - scores[:, 1:]
    return ((margins - (teacher[:, :1] - teacher[:, 1:])) ** 2).mean()


def kl_distillation(scores: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's distribution over candidates to the student's.

    ``mean_i sum_j p_ij log(p_ij / q_ij)`` with p, q the softmax of the teacher's and the student's
    scores.

    Args:
        scores: of each query's own candidates, shape (n, c).
        teacher: scores of the same by the teacher, shape (n, c).
    """
    from torch.nn.functional import kl_div, log_softmax

    return kl_div(
        log_softmax(scores, dim=1), log_softmax(teacher, dim=1), log_target=True,
        reduction="batchmean",
    )  # fmt: skip


def flops(activations: Tensor) -> Tensor:
    """Expected number of multiplications of a score: ``sum_j (mean_i |w_ij|)²``.

    Paria, Yeh, Yen, Xu, Ravikumar and Póczos, "Minimizing FLOPs to Learn Efficient Sparse
    Representations", ICLR 2020. It presses hardest on columns that most texts share, so it makes
    vectors sparse and lists even.

    Args:
        activations: vectors, shape (n, dim).
    """
    return (activations.abs().mean(dim=0) ** 2).sum()


def quadratic_warm_up(step: int, steps: int) -> float:
    """Share of a regulariser at a step: ``min(1, (step / steps)²)``.

    So a model learns to rank before it learns to be sparse, and does not die on the way; as in
    SPLADE, section 3.2. ``steps`` 0 gives 1 at once.
    """
    return 1.0 if step >= steps else (step / steps) ** 2
