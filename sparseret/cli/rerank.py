"""Options of the commands that re-rank what a search found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sparseret.protocols import Reranker

__all__ = [
    "MmrOption",
    "RerankDepthOption",
    "RerankOption",
    "TimeBudgetOption",
    "make_rerankers",
]

RerankOption = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="FOLDER",
        help="Re-rank the results by a cross-encoder of sentence-transformers, or by the vectors "
        "of a dense encoder: dense:FOLDER, precomputed:FOLDER.",
        show_default=False,
    ),
]

MmrOption = Annotated[
    float | None,
    typer.Option(
        "--mmr",
        metavar="0..1",
        help="Put first what is relevant and unlike the results before it (maximal marginal "
        "relevance), after --rerank; the number is what relevance counts, such as 0.7.",
        show_default=False,
    ),
]

RerankDepthOption = Annotated[
    int | None,
    typer.Option("--rerank-depth", min=1, help="Results that are re-ranked.", show_default="100"),
]

TimeBudgetOption = Annotated[
    float | None,
    typer.Option(
        "--time-budget",
        metavar="SECONDS",
        help="Seconds that re-ranking a query may take; what is not reached keeps its order.",
        show_default="no limit",
    ),
]


def make_rerankers(
    folder: str | None, mmr: float | None, depth: int | None, budget: float | None
) -> list[Reranker]:
    """What the options ask for, in the order of the work; empty where nothing is asked.

    Raises BadParameter for options without effect; ConfigurationError or MissingExtraError for a
    model that cannot be used.
    """
    made: list[Reranker] = []
    if folder is None and mmr is None and not (depth is None and budget is None):
        raise typer.BadParameter("--rerank-depth and --time-budget go with --rerank or --mmr")
    if folder is not None:
        from sparseret.registry import DENSE_ENCODERS, load_any_encoder

        if folder.partition(":")[0] in DENSE_ENCODERS:
            from sparseret.protocols import DenseEncoder
            from sparseret.reranking import FullVectors

            encoder = load_any_encoder(folder)
            if isinstance(encoder, DenseEncoder):
                made.append(FullVectors(encoder))
        else:
            from sparseret.encoders.cross_encoder import CrossEncoder

            made.append(CrossEncoder(folder))
    if mmr is not None:
        from sparseret.reranking import Diversity

        made.append(Diversity(mmr))
    return made
