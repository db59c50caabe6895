"""Some legs of a retriever, fused and re-ranked in some way, as something to evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparseret.indexers.fusion import Fusion
from sparseret.parents import ParentRetriever
from sparseret.protocols import Hits, Reranker
from sparseret.retriever import Retriever

__all__ = ["ChosenLegs"]


@dataclass(frozen=True)
class ChosenLegs:
    """Searches a retriever in one way (:class:`sparseret.eval.evaluate.Searchable`)."""

    retriever: Retriever | ParentRetriever
    legs: Sequence[str] | None = None
    """Names of legs; None for all."""
    fusion: Fusion | None = None
    """None for that of the index."""
    rerankers: Sequence[Reranker] = ()
    """What re-ranks the results, one after another."""
    rerank_depth: int = 100
    """Results that are re-ranked."""
    time_budget: float | None = None
    """Seconds that this may take for a query."""

    def retrieve(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Top k of each query."""
        return self.retriever.retrieve(
            queries, k, recall=recall, legs=self.legs, fusion=self.fusion, threads=threads,
            rerank=self.rerankers, rerank_depth=self.rerank_depth, time_budget=self.time_budget,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.retriever)

    @property
    def n_bytes(self) -> int:
        """Size of the whole index on disk in bytes."""
        return self.retriever.n_bytes

    @property
    def description(self) -> str:
        """What it is, in a line."""
        retriever = self.retriever
        within = retriever.retriever if isinstance(retriever, ParentRetriever) else retriever
        chosen = within.legs if self.legs is None else self.legs
        encoders = within.encoders
        named = " + ".join(f"{leg}: " * bool(leg) + encoders[leg].description for leg in chosen)
        fusion = within.fusion if self.fusion is None else self.fusion
        parts = [named] if len(chosen) == 1 else [named, fusion.description]
        parts += [
            f"best {self.rerank_depth} by {reranker.description}" for reranker in self.rerankers
        ]
        return "; ".join(parts)
