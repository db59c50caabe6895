"""Anserini's vector format: a JSON object a line, with the weights of a document by term.

::

    {"id": "7", "contents": "The lift of a wing", "vector": {"lift": 212, "wing": 187}}

Weights are whole numbers for Lucene, whose impact indexes keep them as term frequencies:
``round(100 w)`` by default, as published SPLADE collections have it. Queries of such an index add
up products, so a scale changes scores and no ranking but for the rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparseret.documents import Document, id_problem
from sparseret.errors import DocumentError, VectorError
from sparseret.eval.files import write_text
from sparseret.exchange.leg import LegReader, whole_numbers
from sparseret.exchange.making import check_scale
from sparseret.exchange.new_index import Imported, NewIndex, new_index
from sparseret.legs import AnyEncoder
from sparseret.linefile import COMPRESSIONS, STDIN, LineFile

__all__ = [
    "SCALE",
    "VectorLine",
    "add_vector_lines",
    "export_anserini",
    "import_anserini",
    "read_vector_line",
]

SCALE = 100.0
"""By which weights are multiplied unless told otherwise."""

_BATCH = 1000
_IDS, _TEXTS = ("id", "_id", "docid"), ("contents", "content", "text")


class VectorLine(NamedTuple):
    """A document and its weights."""

    document: Document
    terms: list[str]
    values: list[float]


def export_anserini(
    index: str | Path,
    out: str | Path,
    *,
    leg: str | None = None,
    scale: float | None = SCALE,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Write the documents and weights of a leg. Returns the number of documents.

    Title and text become ``contents``; metadata is left out (Parquet keeps it). A leg of counts,
    such as BM25's, is written as the weights it has now (:meth:`LegReader.sparse_batches`).

    Args:
        index: folder of the index.
        out: a file, which is compressed if its name ends in .gz or .zst.
        leg: name of the leg; None for the only one.
        scale: weights are multiplied by it and rounded to whole numbers, those of 0 left out; None
            writes them as they are.
        advance: called with the number of documents just written.

    Raises:
        VectorError: negative weights, or too large for 32 bits, where they are rounded.
        ConfigurationError, StorageError, CorruptIndexError, IndexNotFoundError
    """
    check_scale(scale)
    done = 0
    with LegReader(index, leg) as reader, write_text(Path(out)) as file:
        names: dict[int, str] = {}
        for documents, exact in reader.sparse_batches("weights"):
            rows = exact if scale is None else whole_numbers(exact, scale, documents)
            values = rows.data if scale is None else rows.data.astype(np.int64)
            # The shortest decimals that read as the same float32.
            weights = values.astype("U32").tolist()
            columns = rows.indices.tolist()
            for column in dict.fromkeys(columns):
                if column not in names:
                    names[column] = json.dumps(reader.term(column), ensure_ascii=False)
            for row, document in enumerate(documents):
                inside = slice(int(rows.indptr[row]), int(rows.indptr[row + 1]))
                pairs = zip(columns[inside], weights[inside], strict=True)
                vector = ", ".join(f"{names[column]}: {weight}" for column, weight in pairs)
                id, contents = (
                    json.dumps(text, ensure_ascii=False) for text in (document.id, document.content)
                )
                file.write(f'{{"id": {id}, "contents": {contents}, "vector": {{{vector}}}}}\n')
            done += len(documents)
            if advance is not None:
                advance(len(documents))
    return done


def import_anserini(
    source: str | Path,
    out: str | Path,
    *,
    encoder: str | AnyEncoder = "terms",
    encoder_options: Mapping[str, Any] | None = None,
    scale: float = 1.0,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Make an index of a file of vectors, all of it or nothing.

    Args:
        source: a .jsonl file, also .gz or .zst, or a folder of such files.
        out: folder of the index, new.
        encoder: of the queries, whose terms those of the file must be. "terms" takes queries that
            are terms themselves (:mod:`sparseret.encoders.terms`).
        encoder_options: of a named encoder.
        scale: weights are divided by it: 100 undoes that of the export, but for the rounding.
        advance: called with bytes of the files just read, as they are on disk.

    Raises:
        DocumentError: a line that is no vector, with file and line, or a term unknown to the
            encoder.
        DuplicateIdError, ConfigurationError, IndexExistsError, StorageError
    """
    check_scale(scale)
    done = 0
    files = _files(Path(source))
    with new_index(out, encoder, encoder_options) as index:
        for file in files:
            for batch in _batches(file, advance):
                add_vector_lines(index, str(file), batch, scale)
                done += len(batch)
    return Imported(done)


def read_vector_line(text: str | bytes, where: str) -> VectorLine:
    """What a line holds.

    Args:
        text: the line.
        where: file and line, for messages.

    Raises:
        DocumentError: it is no vector.
    """
    try:
        fields = _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DocumentError(f"{where}: not UTF-8: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise DocumentError(
            f"{where}: not JSON: {error}. Each line must be an object with id, contents and vector"
        ) from error
    vector = fields.get("vector") if isinstance(fields, dict) else None
    if not isinstance(vector, dict):
        raise DocumentError(
            f'{where}: no object "vector" of weights by term, such as {{"wing": 2}}'
        )
    id = next((fields[name] for name in _IDS if name in fields), None)
    id = str(id) if isinstance(id, int) and not isinstance(id, bool) else id
    if problem := id_problem(id):
        raise DocumentError(f'{where}: {problem}: give "id" a string')
    contents = next((fields[name] for name in _TEXTS if fields.get(name)), "")
    title = fields.get("title") or ""
    if not isinstance(contents, str) or not isinstance(title, str):
        raise DocumentError(f"{where}: contents and title must be strings")
    for term, weight in vector.items():
        if type(weight) not in (int, float) or not abs(weight) < _LARGEST:
            raise DocumentError(f"{where}: the weight of {term!r} is {weight!r}, no finite number")
    document = Document(str(id), contents, title)
    return VectorLine(document, list(vector), list(vector.values()))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
_LARGEST = float(np.finfo(np.float32).max)


def _files(source: Path) -> list[Path]:
    if str(source) == STDIN or not source.is_dir():
        if str(source) != STDIN and not source.exists():
            raise DocumentError(f"{source}: no such file")
        return [source]
    endings = tuple(f"{name}{packed}" for name in (".jsonl", ".json") for packed in
                    ("", *COMPRESSIONS))  # fmt: skip
    files = sorted(path for path in source.iterdir() if path.name.endswith(endings))
    if not files:
        raise DocumentError(f"{source}: the folder has no .jsonl file (.gz and .zst are read, too)")
    return files


def _batches(
    file: Path, advance: Callable[[int], None] | None
) -> Iterator[list[tuple[int, VectorLine]]]:
    """Lines with their numbers."""
    batch: list[tuple[int, VectorLine]] = []
    with LineFile(str(file)) as lines:
        before = 0
        for raw in lines:
            if not raw.isspace():
                line = read_vector_line(raw, f"{lines.name}:{lines.number}")
                batch.append((lines.number, line))
            if len(batch) >= _BATCH:
                yield batch
                batch = []
                if advance is not None:
                    advance(lines.offset - before)
                    before = lines.offset
        if batch:
            yield batch
        if advance is not None:
            advance(lines.offset - before)


def add_vector_lines(
    index: NewIndex, name: str, batch: Sequence[tuple[int, VectorLine]], scale: float
) -> None:
    """Add lines to an index, their weights divided by a scale.

    Args:
        index: in the making.
        name: of the file, for messages.
        batch: lines and their numbers.
        scale: above 0.

    Raises:
        DocumentError: weights or terms that the encoder does not have, with file and line.
        DuplicateIdError, StorageError
    """
    sizes = [len(line.terms) for _, line in batch]
    indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    terms = [term for _, line in batch for term in line.terms]
    flat = [value for _, line in batch for value in line.values]
    values = (np.array(flat, np.float64) / scale).astype(np.float32)
    try:
        columns = index.columns(terms)
        index.add([line.document for _, line in batch], indptr, columns, values)
    except VectorError as error:
        # One line after another, to say which; what was added so far goes with the whole index.
        for number, line in batch:
            if problem := _problem(index, line):
                raise DocumentError(f"{name}:{number}: {problem}") from error
        raise


def _problem(index: NewIndex, line: VectorLine) -> str | None:
    """Why a line cannot be added; else it is."""
    try:
        found = index.columns(line.terms)
        ends = np.array([0, len(found)], np.int64)
        index.add([line.document], ends, found, np.array(line.values, np.float32))
    except VectorError as error:
        return str(error)
    return None
