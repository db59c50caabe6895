"""BEIR: a search model that its EvaluateRetrieval runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, DatasetError, MissingExtraError
from sparseret.integrations.collections import TemporaryIndex, check_collection, scores_in_order
from sparseret.legs import AnyEncoder
from sparseret.retriever import Retriever

try:
    from beir.retrieval.search import BaseSearch
except ImportError as error:
    raise MissingExtraError("beir", "beir", "evaluation by BEIR") from error

__all__ = ["SparseretSearch"]


class SparseretSearch(BaseSearch):  # beir has no types
    """Indexes a corpus of BEIR and searches it.

    Args:
        encoder: as in :meth:`sparseret.Retriever.create`: a name, an encoder, or several by the
            names of their legs. The index is temporary.
        encoder_options: of named encoders.
        index: an index of the same corpus to search in place of a temporary one.
        recall: of approximate search, 0.5 to 0.999; None for exact results.
        drop_self: whether to leave out documents whose id is that of the query, and return one
            more instead, as ArguAna and Quora want. BEIR's ``evaluate`` ignores such hits unless
            it is told not to.
        threads: of a search; None for one per core.
        show_progress: whether to show how far indexing is.
    """

    def __init__(
        self,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] = "bm25",
        *,
        encoder_options: Mapping[str, Any] | None = None,
        index: Retriever | None = None,
        recall: float | None = None,
        drop_self: bool = False,
        threads: int | None = None,
        show_progress: bool = False,
    ) -> None:
        self.encoder = encoder
        self.encoder_options = encoder_options
        self.index = index
        self.recall = recall
        self.drop_self = drop_self
        self.threads = threads
        self.show_progress = show_progress

    def search(
        self,
        corpus: Mapping[str, Mapping[str, str]],
        queries: Mapping[str, str],
        top_k: int,
        score_function: str | None = None,  # noqa: ARG002
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Scores by query and document, for each query those of the best ``top_k`` documents.

        No two scores of a query are equal, so that BEIR keeps the order of the results.

        Args:
            corpus: by id, "text" and maybe "title"; other keys become metadata.
            queries: texts by id.
            top_k: results of a query; fewer where fewer match.
            score_function: BEIR's name for a comparison of dense vectors; the encoder knows its
                own.

        Raises:
            ConfigurationError: ``index`` holds another number of documents.
        """
        if self.index is not None:
            check_collection(self.index, len(corpus))
            return self._search(self.index, queries, top_k)
        with TemporaryIndex(
            self.encoder, self.encoder_options, _documents(corpus), show_progress=self.show_progress
        ) as retriever:
            return self._search(retriever, queries, top_k)

    def encode(
        self,
        corpus: Mapping[str, Mapping[str, str]],
        queries: Mapping[str, str],
        encode_output_path: str = "./embeddings/",
        overwrite: bool = False,
        query_filename: str = "queries.pkl",
        corpus_filename: str = "corpus.*.pkl",
        **_: Any,
    ) -> None:
        """Write an index of the corpus, and the queries, for :meth:`search_from_files`.

        Whatever the files are called, queries are JSON, and the corpus becomes the folder of an
        index, with 0 for the asterisk. What is there already is kept.

        Raises:
            ConfigurationError: ``overwrite``, as no folder is removed here.
        """
        if overwrite:
            raise ConfigurationError("an index is not overwritten: remove its folder first")
        folder = Path(encode_output_path)
        folder.mkdir(parents=True, exist_ok=True)
        asked = folder / query_filename
        if not asked.exists():
            asked.write_text(json.dumps(dict(queries), ensure_ascii=False), "utf-8")
        path = folder / corpus_filename.replace("*", "0")
        if not path.exists():
            with Retriever.create(path, self.encoder, encoder_options=self.encoder_options) as made:
                made.add(_documents(corpus), show_progress=self.show_progress)

    def search_from_files(
        self,
        query_embeddings_file: str,
        corpus_embeddings_files: Sequence[str],
        top_k: int,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """:meth:`search` what :meth:`encode` wrote.

        Raises:
            DatasetError: several indexes, or a file that holds no queries.
            IndexNotFoundError, ConfigurationError
        """
        if len(corpus_embeddings_files) != 1:
            raise DatasetError(
                f"one index is searched, got {len(corpus_embeddings_files)} files of a corpus"
            )
        try:
            queries = json.loads(Path(query_embeddings_file).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{query_embeddings_file} holds no queries: {error}") from error
        given = None if _is_named(self.encoder) else self.encoder
        with Retriever.open(corpus_embeddings_files[0], given) as retriever:  # type: ignore[arg-type]
            return self._search(retriever, queries, top_k)

    def _search(
        self, retriever: Retriever, queries: Mapping[str, str], top_k: int
    ) -> dict[str, dict[str, float]]:
        hits = retriever.retrieve(
            list(queries.values()), top_k + self.drop_self, recall=self.recall,
            threads=self.threads,
        )  # fmt: skip
        found = scores_in_order(queries, hits)
        if self.drop_self:
            for query, scores in found.items():
                scores.pop(query, None)
        return {query: dict(islice(scores.items(), top_k)) for query, scores in found.items()}


def _documents(corpus: Mapping[str, Mapping[str, str]]) -> Iterator[Document]:
    for id, entry in corpus.items():
        rest = {key: value for key, value in entry.items() if key not in ("title", "text")}
        yield Document(id, entry["text"], entry.get("title") or "", rest)


def _is_named(encoder: object) -> bool:
    """Whether the registry can make the encoder again."""
    if isinstance(encoder, Mapping):
        return all(isinstance(each, str) for each in encoder.values())
    return isinstance(encoder, str)
