"""Datasets to evaluate on: a folder in BEIR's layout, the bundled Cranfield, or a BEIR name.

The layout (Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information
Retrieval Models", NeurIPS 2021)::

    corpus.jsonl    queries.jsonl    (each may also end in .gz or .zst)
    qrels/test.tsv  qrels/dev.tsv    (one file a split; so may these)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sparseret.documents import Query
from sparseret.errors import DatasetError
from sparseret.eval.download import BEIR_MD5, download_beir
from sparseret.eval.files import read_lines
from sparseret.readers import read_queries

__all__ = ["Dataset", "Qrels", "load_dataset", "read_qrels"]

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> judged relevance; above 0 is relevant, more is better."""

_BUNDLED = Path(__file__).parent.parent / "data"
_BUNDLED_NAMES = ("cranfield",)
_SUFFIXES = ("", ".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Queries with judgements over a corpus.

    Attributes:
        name: what the user called it: a BEIR name, or the name of the folder.
        split: which judgements, e.g. ``test``.
        corpus: file of the documents, for :func:`sparseret.readers.read_documents`.
        queries: the queries that the split judges, in the order of their file.
        qrels: judgements of exactly these queries.
        unknown_queries: ids that the qrels judge but the query file lacks. They cannot be asked, so
            they are left out of ``qrels`` and of every average; reports print their number.
    """

    name: str
    split: str
    corpus: Path
    queries: tuple[Query, ...]
    qrels: Qrels
    unknown_queries: tuple[str, ...] = ()


def load_dataset(source: str | Path, split: str = "test") -> Dataset:
    """Read a dataset, downloading it where it is a BEIR name that is not in the cache yet.

    Args:
        source: a folder in BEIR's layout; or ``"cranfield"``, which is bundled; or a BEIR name such
            as ``"scifact"`` or ``"cqadupstack/android"``. A folder wins over a name, unless nothing
            in it looks like a dataset (an index may be called ``scifact``, too).
        split: name of a file in ``qrels/``.

    Raises:
        DatasetError: no such folder or name, a file of the layout is absent or malformed, the split
            is absent, or a download failed.
    """
    folder = _find(source)
    corpus, queries = _file(folder, "corpus.jsonl"), _file(folder, "queries.jsonl")
    judged = read_qrels(_qrels_file(folder, split))
    texts = [query for query in read_queries(queries) if query.id in judged]
    known = {query.id for query in texts}
    if not known:
        raise DatasetError(
            f"{folder}: none of the {len(judged)} queries that split '{split}' judges is in "
            f"{queries.name}; check that both belong to the same dataset"
        )
    return Dataset(
        name=str(source) if not Path(source).is_dir() else folder.resolve().name,
        split=split,
        corpus=corpus,
        queries=tuple(texts),
        qrels={query.id: judged[query.id] for query in texts},
        unknown_queries=tuple(query for query in judged if query not in known),
    )


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements: BEIR's three tab-separated columns, or TREC's four columns.

    BEIR: ``query-id  corpus-id  score`` with a header line (which may be absent). TREC:
    ``query-id  iteration  document-id  relevance`` without one. The first line tells which.

    Raises:
        DatasetError: with file and line: a wrong number of columns, a score that is no integer,
            contradicting judgements of a pair; or no judgement at all.
    """
    path = Path(path)
    qrels: dict[str, dict[str, int]] = {}
    n_columns = 0
    for number, line in read_lines(path):
        columns = line.split("\t") if n_columns != 4 and line.count("\t") == 2 else line.split()
        first = not n_columns
        if first:
            n_columns = len(columns)
            if n_columns not in (3, 4):
                raise DatasetError(
                    f"{path}:{number}: expected 3 tab-separated columns (query, document, score) "
                    f"or the 4 columns of TREC, got {n_columns}"
                )
        if len(columns) != n_columns:
            raise DatasetError(f"{path}:{number}: expected {n_columns} columns, got {len(columns)}")
        query, document, score = columns[0], columns[-2], columns[-1]
        try:
            relevance = int(score)
        except ValueError:
            if first and n_columns == 3:
                continue
            raise DatasetError(f"{path}:{number}: score {score!r} is not an integer") from None
        before = qrels.setdefault(query, {}).setdefault(document, relevance)
        if before != relevance:
            raise DatasetError(
                f"{path}:{number}: document {document!r} of query {query!r} has a score of "
                f"{relevance} here and of {before} further up; keep one of the lines"
            )
    if not qrels:
        raise DatasetError(f"{path}: no judgements in the file")
    return qrels


def _find(source: str | Path) -> Path:
    folder, name = Path(source), str(source)
    parent, _, part = name.partition("/")
    named = name in _BUNDLED_NAMES or parent in BEIR_MD5
    if folder.is_dir() and (not named or _looks_like_dataset(folder)):
        return folder
    if name in _BUNDLED_NAMES:
        return _BUNDLED / name
    if parent in BEIR_MD5:
        return download_beir(parent) / part
    if folder.exists():
        raise DatasetError(f"{source}: not a folder; pass the folder that holds corpus.jsonl")
    known = ", ".join((*_BUNDLED_NAMES, *sorted(BEIR_MD5)))
    raise DatasetError(f"{source}: no such folder, nor a known dataset; known names: {known}")


def _looks_like_dataset(folder: Path) -> bool:
    return (folder / "qrels").is_dir() or any(folder.glob("corpus.jsonl*"))


def _file(folder: Path, name: str) -> Path:
    for suffix in _SUFFIXES:
        path = folder / (name + suffix)
        if path.is_file():
            return path
    parts = sorted(child.name for child in folder.glob("*/") if _looks_like_dataset(child))
    if parts:
        raise DatasetError(
            f"{folder} is a collection of datasets; evaluate them one at a time, such as "
            f"{folder / parts[0]}. It holds: {', '.join(parts)}"
        )
    raise DatasetError(
        f"{folder}: {name} is missing (.gz and .zst are read, too); a dataset is a folder with "
        "corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
    )


def _qrels_file(folder: Path, split: str) -> Path:
    for suffix in _SUFFIXES:
        path = folder / "qrels" / f"{split}.tsv{suffix}"
        if path.is_file():
            return path
    splits = sorted({path.name.split(".tsv")[0] for path in folder.glob("qrels/*.tsv*")})
    if not splits:
        raise DatasetError(f"{folder}: no qrels/SPLIT.tsv; without judgements nothing can be rated")
    raise DatasetError(f"{folder}: no split '{split}'; there are: {', '.join(splits)}")
