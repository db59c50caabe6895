"""Lucene's impact indexes, by Anserini: ours built from Anserini's JSONL, and read back.

Extra ``lucene`` (pyserini) and a JDK from 21 on. Building runs Anserini in a process of its own,
and needs of pyserini its jar alone; reading starts a Java machine within this process, which
stays until its end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparseret.documents import Document
from sparseret.errors import (
    ConfigurationError,
    DocumentError,
    MissingExtraError,
    StorageError,
    VectorError,
)
from sparseret.exchange.anserini import (
    SCALE,
    add_vector_lines,
    export_anserini,
    read_vector_line,
)
from sparseret.exchange.leg import LegReader, Values
from sparseret.exchange.making import check_scale, new_folder, new_folder_beside
from sparseret.exchange.new_index import Imported, new_index
from sparseret.exchange.postings import Postings, add_postings, default_encoder
from sparseret.legs import AnyEncoder

__all__ = ["anserini_jar", "export_lucene", "find_java", "import_lucene", "index_with_anserini"]

_HEAP = "-Xmx2g"
_LEAST_JDK = 21
_LONGEST_TERM = 255  # Lucene's tokenizer of white space cuts longer ones
_BATCH = 1000

_Advance = Callable[[int], None] | None


def export_lucene(
    index: str | Path,
    out: str | Path,
    *,
    leg: str | None = None,
    scale: float = SCALE,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Make a Lucene impact index of the weights of a leg. Returns the number of its documents.

    Weights are as in :func:`sparseret.exchange.anserini.export_anserini`, whose lines are stored
    along. Anserini leaves documents without any weight out.

    Raises:
        MissingExtraError: pyserini is not installed.
        ConfigurationError: no Java, or too old.
        VectorError: a term that Lucene would cut in pieces.
        StorageError, CorruptIndexError, IndexExistsError, IndexNotFoundError
    """
    check_scale(scale)
    find_java()
    anserini_jar()
    with LegReader(index, leg) as reader:
        _check_terms(reader)
    with new_folder(out) as folder, new_folder_beside(out) as scratch:
        (scratch / "documents").mkdir()
        lines = scratch / "documents" / "documents.jsonl"
        export_anserini(index, lines, leg=leg, scale=scale, advance=advance)
        told = index_with_anserini(
            scratch / "documents", folder, "JsonVectorCollection", "-impact", "-pretokenized",
            "-storeRaw",
        )  # fmt: skip
        (folder / "write.lock").unlink(missing_ok=True)
    return told


def import_lucene(
    source: str | Path,
    out: str | Path,
    *,
    encoder: str | AnyEncoder | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    values: Values | None = None,
    scale: float = 1.0,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Make an index of one of Lucene that Anserini built, all of it or nothing.

    Where lines of vectors are stored, as :func:`export_lucene` does, those are read; else the
    postings of the field ``contents``, a slow way (some 30,000 postings/s).

    Args:
        source: folder of the index.
        out: folder of ours, new.
        encoder: of the queries; by default "terms" for weights, and for counts BM25 with Porter's
            stems, which are those of Anserini.
        encoder_options: of a named encoder.
        values: what frequencies are; must be said where no lines of vectors are stored.
        scale: weights are divided by it.
        advance: called with the number of documents, or terms, just read.

    Raises:
        DocumentError: no Lucene index, or one that Anserini did not build.
        MissingExtraError: pyserini, or what it needs, is not installed.
        ConfigurationError, DuplicateIdError, IndexExistsError, StorageError
    """
    check_scale(scale)
    source = Path(source)
    if not any(source.glob("segments_*")):
        raise DocumentError(f"{source}: no Lucene index: there is no file segments_N")
    with _java_errors(source):
        reader = _reader(source)
        n = int(reader.reader.maxDoc())
        if n != int(reader.reader.numDocs()):
            raise DocumentError(f"{source}: documents were deleted: build the index anew")
        if n and "vector" in _raw_fields(reader, 0):
            chosen: str | AnyEncoder = encoder or "terms"
            with new_index(out, chosen, encoder_options) as index:
                numbers = iter(range(n))
                while batch := list(islice(numbers, _BATCH)):
                    lines = [(i, read_vector_line(_raw(reader, i), f"{source}: document {i}"))
                             for i in batch]  # fmt: skip
                    add_vector_lines(index, str(source), lines, scale)
                    if advance is not None:
                        advance(len(batch))
            return Imported(n)
        if values is None:
            raise ConfigurationError(
                f"{source} does not say whether its frequencies are counts or weights: give "
                "--values counts or --values weights"
            )
        if encoder is None:
            encoder, default_options = default_encoder(values)
            encoder_options = {**default_options, **(encoder_options or {})}
        postings = _survey(reader, source, n)
        with new_index(out, encoder, encoder_options) as index, new_folder_beside(out) as scratch:
            lists = _lists(reader, postings.terms, advance)
            factor = 1.0 if values == "counts" else scale
            try:
                add_postings(index, postings, lists, scratch, values=values, scale=factor)
            except VectorError as error:
                raise DocumentError(f"{source}: {error}") from error
    return Imported(n)


def find_java() -> Path:
    """The Java that Anserini runs on.

    Raises:
        ConfigurationError: there is none, or one before 21.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    remedy = f"install a JDK from {_LEAST_JDK} on, and set JAVA_HOME to its folder"
    if found is None:
        raise ConfigurationError(f"Lucene needs Java, and there is none: {remedy}")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r'version "(\d+)', told.stderr + told.stdout)
    if version is None or int(version[1]) < _LEAST_JDK:
        which = f"version {version[1]}" if version else "of an unknown version"
        raise ConfigurationError(f"{found} is {which}: {remedy}")
    return Path(found)


def anserini_jar() -> Path:
    """Anserini, as pyserini has it. Raises MissingExtraError where that is not installed."""
    from importlib.util import find_spec

    spec = find_spec("pyserini")
    places = list(spec.submodule_search_locations or []) if spec else []
    jars = [jar for place in places for jar in Path(place).glob("resources/jars/*-fatjar.jar")]
    if not jars:
        raise MissingExtraError("pyserini", "lucene", "Lucene indexes")
    return max(jars)


def index_with_anserini(documents: Path, out: Path, collection: str, *options: str) -> int:
    """Run Anserini's indexer in a process of its own; returns the documents it says it indexed.

    Args:
        documents: folder of files.
        out: folder of the index.
        collection: class of Anserini that reads the files.
        options: of its IndexCollection.

    Raises:
        StorageError: it failed; the message ends with what it said.
        ConfigurationError, MissingExtraError
    """
    command = [
        str(find_java()), _HEAP, "--add-modules=jdk.incubator.vector", "-cp", str(anserini_jar()),
        "io.anserini.index.IndexCollection", "-collection", collection, "-generator",
        "DefaultLuceneDocumentGenerator", "-input", str(documents), "-index", str(out),
        "-threads", "1", "-optimize", *options,
    ]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    said = re.search(r"Total ([\d,]+) documents indexed", told.stdout)
    if told.returncode or said is None:
        last = "\n".join((told.stdout + told.stderr).splitlines()[-10:])
        raise StorageError(f"Anserini could not index {documents} (status {told.returncode}): "
                           f"{last}")  # fmt: skip
    return int(said[1].replace(",", ""))


def _check_terms(reader: LegReader) -> None:
    seen: set[int] = set()
    for _, rows in reader.sparse_batches("weights"):
        for column in np.unique(rows.indices).tolist():
            if column in seen:
                continue
            seen.add(column)
            term = reader.term(column)
            if term.split() != [term] or len(term) > _LONGEST_TERM:
                raise VectorError(
                    f"the term {term!r} holds white space, or is longer than {_LONGEST_TERM} "
                    "characters: Lucene would cut it in pieces. Export ciff or parquet"
                )


@contextmanager
def _java_errors(source: Path) -> Iterator[None]:
    find_java()
    try:
        import jnius_config

        if not jnius_config.vm_running:
            jnius_config.add_options(_HEAP)
        # pyserini's own imports may lack a package, too.
        import pyserini.index.lucene  # noqa: F401
        from jnius import JavaException
    except ImportError as error:
        raise MissingExtraError(str(error.name), "lucene", "Lucene indexes") from error
    try:
        yield
    except JavaException as error:
        raise DocumentError(f"{source}: Lucene cannot read it: {error}") from error


def _reader(source: Path) -> Any:
    from pyserini.index.lucene import LuceneIndexReader

    return LuceneIndexReader(str(source))


def _raw(reader: Any, number: int) -> str:
    """What is stored of a document; "" where nothing is."""
    stored = reader.reader.storedFields().document(number)
    return stored.get("raw") or stored.get("contents") or ""


def _raw_fields(reader: Any, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(_raw(reader, number))
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _survey(reader: Any, source: Path, n: int) -> Postings:
    terms = [term.term for term in reader.terms()]
    sizes, sums = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for rows, values in _lists(reader, terms, None):
        sizes[rows] += 1
        sums[rows] += values
    documents = []
    for number in range(n):
        id = reader.object.convertLuceneDocidToDocid(reader.reader, number)
        if not id:
            raise DocumentError(f"{source}: document {number} has no id: Anserini did not build it")
        fields = _raw_fields(reader, number)
        text = fields.get("contents", "") if fields else _raw(reader, number)
        documents.append(Document(str(id), text if isinstance(text, str) else ""))
    return Postings(str(source), terms, sizes, sums, documents, sums)


def _lists(
    reader: Any, terms: list[str], advance: _Advance
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for term in terms:
        found = reader.get_postings_list(term, analyzer=None)
        rows = np.fromiter((posting.docid for posting in found), np.int64, len(found))
        values = np.fromiter((posting.tf for posting in found), np.int64, len(found))
        yield rows, values
        if advance is not None:
            advance(1)
