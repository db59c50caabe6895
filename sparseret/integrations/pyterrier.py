"""PyTerrier: a transformer that searches an index, and an indexer that makes one; no Java."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret.documents import Document
from sparseret.errors import ConfigurationError, DocumentError, MissingExtraError
from sparseret.indexers.filters import Filter, In
from sparseret.integrations.collections import scores_in_order
from sparseret.legs import AnyEncoder
from sparseret.retriever import Retriever

try:
    import pyterrier
except ImportError as error:
    raise MissingExtraError("pyterrier", "pyterrier", "pipelines of PyTerrier") from error

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SparseretIndexer", "SparseretTransformer"]


class SparseretTransformer(pyterrier.Transformer):  # its types are not read
    """Queries to results: columns ``docno``, ``score`` and ``rank`` beside those of the queries.

    No two scores of a query are equal: PyTerrier and its measures sort by the score, so one that is
    not below that before it is made the next float32 below it, and the order is that of the index.

    Args:
        index: a retriever, or the folder of an index.
        num_results: of a query; ``% k`` behind the transformer lowers it.
        filter: metadata condition that documents must satisfy (docs/filters.md).
        recall: of approximate search, 0.5 to 0.999; None for exact results.
        legs: of an index of several, names of those to search.
        threads: of a search; None for one per core.
        with_text: whether to give ``title`` and ``text`` of the documents, too.

    Raises:
        ConfigurationError: ``num_results`` below 1.
        IndexNotFoundError, IncompatibleIndexError, CorruptIndexError
    """

    def __init__(
        self,
        index: Retriever | str | Path,
        *,
        num_results: int = 1000,
        filter: Filter | str | None = None,
        recall: float | None = None,
        legs: Sequence[str] | None = None,
        threads: int | None = None,
        with_text: bool = False,
    ) -> None:
        if num_results < 1:
            raise ConfigurationError(f"num_results must be at least 1, got {num_results}")
        self.retriever = index if isinstance(index, Retriever) else Retriever.open(index)
        self.num_results = num_results
        self.filter = filter
        self.recall = recall
        self.legs = legs
        self.threads = threads
        self.with_text = with_text

    def transform(self, inp: DataFrame) -> DataFrame:
        """The results of each row of ``inp``, which has the columns ``qid`` and ``query``.

        Raises:
            pyterrier.validate.InputValidationError: other columns, or results in place of queries.
        """
        import numpy as np

        pyterrier.validate.query_frame(inp, extra_columns=["query"])
        queries = inp["query"].tolist()
        hits = self.retriever.retrieve(
            queries, self.num_results, filter=self.filter, recall=self.recall, legs=self.legs,
            threads=self.threads,
        )  # fmt: skip
        places = [str(row) for row in range(len(queries))]  # as queries may come twice
        found = list(scores_in_order(places, hits).values())
        counts = [len(row) for row in found]
        result = inp.iloc[np.repeat(np.arange(len(queries)), counts)].reset_index(drop=True)
        ids = [id for row in found for id in row]
        result["docno"] = np.array(ids, object)
        result["score"] = np.array([score for row in found for score in row.values()], np.float64)
        ranks = [rank for count in counts for rank in range(count)]
        result["rank"] = np.array(ranks, np.int64) + pyterrier.model.FIRST_RANK
        if self.with_text:
            selected = self.retriever.documents(In(("_id",), tuple(dict.fromkeys(ids))))
            documents = {document.id: document for document in selected}
            result["title"] = np.array([documents[id].title for id in ids], object)
            result["text"] = np.array([documents[id].text for id in ids], object)
        return result

    def fuse_rank_cutoff(self, k: int) -> SparseretTransformer | None:
        """The same transformer with fewer results, which PyTerrier asks for before ``% k``."""
        if k >= self.num_results:
            return None
        return SparseretTransformer(
            self.retriever, num_results=k, filter=self.filter, recall=self.recall, legs=self.legs,
            threads=self.threads, with_text=self.with_text,
        )  # fmt: skip


class SparseretIndexer(pyterrier.Indexer):  # its types are not read
    """Documents to an index folder.

    Args:
        path: a new or empty folder.
        encoder: as in :meth:`sparseret.Retriever.create`.
        encoder_options: of named encoders.
        filter_fields: metadata fields that filters should find fast.
        show_progress: whether to show how far it is.
    """

    def __init__(
        self,
        path: str | Path,
        encoder: str | AnyEncoder | Mapping[str, str | AnyEncoder] = "bm25",
        *,
        encoder_options: Mapping[str, Any] | None = None,
        filter_fields: Sequence[str] = (),
        show_progress: bool = False,
    ) -> None:
        self.path = Path(path)
        self.encoder = encoder
        self.encoder_options = encoder_options
        self.filter_fields = filter_fields
        self.show_progress = show_progress

    def index(self, iter: Iterable[Mapping[str, Any]], **_: Any) -> Retriever:  # noqa: A002
        """Index documents, all or, after an error, none.

        Args:
            iter: of each document "docno", and maybe "text" and "title"; other keys become
                metadata.

        Returns:
            the index, to be given to :class:`SparseretTransformer`.

        Raises:
            DocumentError: a document without "docno".
            IndexExistsError, DuplicateIdError, VectorError, StorageError
        """
        retriever = Retriever.create(
            self.path, self.encoder, encoder_options=self.encoder_options,
            filter_fields=self.filter_fields,
        )  # fmt: skip
        try:
            retriever.add(_documents(iter), show_progress=self.show_progress)
            retriever.commit()
        except BaseException:
            retriever.close()
            raise
        return retriever

    def index_inputs(self) -> list[list[str]]:
        """What :meth:`index` reads of each document."""
        return [["docno", "text"]]


def _documents(rows: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    for row in rows:
        if "docno" not in row:
            raise DocumentError(f"a document has no docno, but {', '.join(row)}")
        rest = {key: value for key, value in row.items() if key not in ("docno", "title", "text")}
        yield Document(row["docno"], row.get("text", ""), row.get("title", ""), rest)
