"""sentence-transformers: its evaluators of retrieval, with an index that does the searching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, MissingExtraError
from sparseret.integrations.collections import TemporaryIndex, check_collection
from sparseret.protocols import DenseEncoder, Encoder
from sparseret.retriever import Retriever

try:
    from sentence_transformers.sentence_transformer.evaluation import (
        InformationRetrievalEvaluator,
        NanoBEIREvaluator,
    )
except ImportError as error:
    raise MissingExtraError(
        "sentence-transformers", "sentence-transformers", "evaluation by sentence-transformers"
    ) from error

__all__ = ["IndexInformationRetrievalEvaluator", "IndexNanoBEIREvaluator"]

_SCORES = "index"
"""What stands before the names of measures, where a model has the name of its similarity."""


class IndexInformationRetrievalEvaluator(InformationRetrievalEvaluator):
    """An InformationRetrievalEvaluator that is called with an encoder, or an index.

    Queries, corpus, judgements, measures and what is written are those of the parent class, whose
    arguments it takes. It is called with what :meth:`sparseret.Retriever.create` takes as
    ``encoder``, of which it makes a temporary index; or with a :class:`sparseret.Retriever` that
    holds the corpus already.

    Results are those of the index: exact, and without documents that share nothing with the query,
    which the parent class lists with the score 0 where it finds fewer than it looks for. Equal
    scores are put in the order of ids, as the parent class does.

    Raises:
        ConfigurationError: ``score_functions``, ``truncate_dim``, prompts or ``write_predictions``,
            which are for models.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("score_functions", "truncate_dim", "query_prompt", "query_prompt_name",
                     "corpus_prompt", "corpus_prompt_name", "write_predictions"):  # fmt: skip
            if getattr(self, name):
                raise ConfigurationError(f"{name} is for models, not for an index: leave it out")

    def compute_all_metrics(self, model: Any, **_: Any) -> dict[str, Any]:
        """Index the corpus, ask all queries in one batch, and rate the results.

        Raises:
            ConfigurationError: something that is no encoder; or an index of another number of
                documents.
        """
        if isinstance(model, Retriever):
            check_collection(model, len(self.corpus))
            return {_SCORES: self._rate(model)}
        if not isinstance(model, (str, Mapping, Encoder, DenseEncoder)):
            raise ConfigurationError(
                f"this evaluator is called with an encoder or a retriever of sparseret, not with "
                f"{type(model).__name__}: make one of the model's folder, as splade:FOLDER"
            )
        documents = (Document(*pair) for pair in zip(self.corpus_ids, self.corpus, strict=True))
        with TemporaryIndex(
            model, None, documents, show_progress=self.show_progress_bar
        ) as retriever:
            return {_SCORES: self._rate(retriever)}

    def _rate(self, retriever: Retriever) -> dict[str, Any]:
        depth = max(
            *self.mrr_at_k, *self.ndcg_at_k, *self.accuracy_at_k, *self.precision_recall_at_k,
            *self.map_at_k,
        )  # fmt: skip
        hits = retriever.retrieve(self.queries, depth)
        found = [
            [{"corpus_id": id, "score": float(score)} for id, score in zip(*row, strict=True)]
            for row in zip(hits.ids, hits.scores, strict=True)
        ]
        rated: dict[str, Any] = self.compute_metrics(found)
        self.output_scores(rated)
        return rated

    def _model_score_functions(self, model: Any) -> dict[str, None]:  # noqa: ARG002
        return {_SCORES: None}

    def store_metrics_in_model_card_data(self, *_: Any, **__: Any) -> None:
        """An index has no model card."""


class IndexNanoBEIREvaluator(NanoBEIREvaluator):
    """A NanoBEIREvaluator that is called with an encoder of :meth:`sparseret.Retriever.create`.

    Each collection is indexed by it in turn. Arguments are those of the parent class, which fetches
    the collections.
    """

    information_retrieval_class = IndexInformationRetrievalEvaluator

    def store_metrics_in_model_card_data(self, *_: Any, **__: Any) -> None:
        """An index has no model card."""
