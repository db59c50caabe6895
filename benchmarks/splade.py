"""SPLADE vectors of real texts: ``python -m benchmarks.splade``.

Writes ``data/splade-long`` (titles with abstracts of test collections, and descriptions of Debian
packages) and ``data/splade-short`` (what ``python -m benchmarks.short_texts`` collected), each with
``documents.npz`` and ``queries.npz`` (SPLADE-tiny), ``queries-static.npz`` (queries that need no
model: their own tokens, weighted by idf) and ``facts.json``. All are CSR arrays of float32 with one
column per entry of the model's vocabulary. A run that is cut short goes on where it was.
Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from tokenizers import Tokenizer

from benchmarks.corpora import DATA
from benchmarks.long_texts import long_texts
from benchmarks.splade_model import MAX_TOKENS, SpladeModel, fetch_model, load_tokenizer
from sparseret.errors import DatasetError

__all__ = ["main"]

_SETS = ("long", "short")
_STATIC_TOKENS = 10
_SHARD_CHARACTERS = 1_000_000


class _Texts(NamedTuple):
    documents: list[str]
    queries: list[str]
    sources: dict[str, object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Encode what is not encoded yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.splade", description=__doc__)
    parser.add_argument("--set", action="append", choices=_SETS, help="both unless told")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    DATA.mkdir(parents=True, exist_ok=True)
    model = fetch_model(DATA / "splade-tiny")
    for name in options.set or _SETS:
        folder = DATA / f"splade-{name}"
        if (folder / "facts.json").exists():
            _say(f"{folder.name} is there")
            continue
        texts = _long_texts() if name == "long" else _short_texts()
        _say(f"{folder.name}: {len(texts.documents)} documents, {len(texts.queries)} queries")
        _write_set(folder, texts, model, options.processes)


def _long_texts() -> _Texts:
    found = long_texts()
    documents = [document.text for document in found.documents]
    return _Texts(documents, [query.text for query in found.queries], found.sources)


def _short_texts() -> _Texts:
    folder = DATA / "short-texts"
    if not (folder / "facts.json").exists():
        raise DatasetError(f"{folder} is not there: run python -m benchmarks.short_texts first")
    return _Texts(
        (folder / "texts.txt").read_text(encoding="utf-8").splitlines(),
        (folder / "queries.txt").read_text(encoding="utf-8").splitlines(),
        json.loads((folder / "facts.json").read_text(encoding="utf-8")),
    )


def _write_set(folder: Path, texts: _Texts, model: Path, processes: int) -> None:
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    documents = _encode(folder / "shards", texts.documents, model, processes)
    seconds = time.perf_counter() - started
    queries = _encode(folder / "query-shards", texts.queries, model, processes)
    tokenizer = load_tokenizer(model)
    static = _static_queries(tokenizer, texts, documents.shape[1])
    for name, vectors in (
        ("documents", documents), ("queries", queries), ("queries-static", static),
    ):  # fmt: skip
        sparse.save_npz(folder / f"{name}.npz", vectors, compressed=False)
    facts = {
        "documents": documents.shape[0],
        "queries": queries.shape[0],
        "dim": documents.shape[1],
        "nonzeros_per_document": documents.nnz / documents.shape[0],
        "nonzeros_per_query": queries.nnz / queries.shape[0],
        "nonzeros_per_static_query": static.nnz / static.shape[0],
        "postings_per_query": _postings(documents, queries),
        "postings_per_static_query": _postings(documents, static),
        "largest_weight": float(documents.data.max()),
        "max_tokens": MAX_TOKENS,
        "static_tokens": f"the first {_STATIC_TOKENS} distinct ones, weighted by idf",
        "seconds_in_this_run": round(seconds, 1),
        "sources": texts.sources,
    }
    # Last: its presence says that the set is complete.
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for part in ("shards", "query-shards"):
        for file in (folder / part).iterdir():
            file.unlink()
        (folder / part).rmdir()
    _say(f"{folder.name}: complete")


def _postings(documents: sparse.csr_array, queries: sparse.csr_array) -> float:
    """Mean length of the lists that a query reads, all together."""
    frequencies = np.bincount(documents.indices, minlength=documents.shape[1])
    return float(frequencies[queries.indices].sum() / queries.shape[0])


def _encode(folder: Path, texts: Sequence[str], model: Path, processes: int) -> sparse.csr_array:
    """Encode in shards, in several processes of one thread each, skipping shards that are there."""
    folder.mkdir(exist_ok=True)
    jobs = []
    for number, (first, last) in enumerate(_shards(texts)):
        file = folder / f"{number:05}.npz"
        jobs.append((file, texts[first:last]))
    missing = [job for job in jobs if not job[0].exists()]
    spawn = multiprocessing.get_context("spawn")
    started = time.perf_counter()
    with ProcessPoolExecutor(processes, spawn, partial(_start, model), ()) as pool:
        for done, _ in enumerate(pool.map(_encode_shard, missing), start=1):
            seconds = time.perf_counter() - started
            left = seconds / done * (len(missing) - done)
            _say(f"{folder.parent.name}: {done}/{len(missing)} shards, {left:.0f} s left")
    parts = [sparse.csr_array(sparse.load_npz(file)) for file, _ in jobs]
    vectors = sparse.csr_array(sparse.vstack(parts, format="csr", dtype=np.float32))
    vectors.indices = vectors.indices.astype(np.int32, copy=False)
    return vectors


def _shards(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Runs of texts with about as many characters each."""
    first, characters = 0, 0
    for i, text in enumerate(texts):
        characters += len(text)
        if characters >= _SHARD_CHARACTERS or i + 1 == len(texts):
            yield first, i + 1
            first, characters = i + 1, 0


_model: SpladeModel | None = None  # of a worker process


def _start(folder: Path) -> None:
    global _model
    torch.set_num_threads(1)
    _model = SpladeModel(folder)


def _encode_shard(job: tuple[Path, Sequence[str]]) -> None:
    file, texts = job
    if _model is None:
        raise RuntimeError("this process was not started by _start")
    unfinished = file.with_suffix(".part.npz")
    sparse.save_npz(unfinished, _model.encode(texts), compressed=False)
    unfinished.rename(file)


def _static_queries(tokenizer: Tokenizer, texts: _Texts, dim: int) -> sparse.csr_array:
    """Distinct tokens of each query, weighted ``ln((N - df + 0.5) / (df + 0.5) + 1)``."""
    frequencies: Counter[int] = Counter()
    for first in range(0, len(texts.documents), 10_000):
        batch = texts.documents[first : first + 10_000]
        for encoding in tokenizer.encode_batch(batch, add_special_tokens=False):
            frequencies.update(set(encoding.ids))
    df = np.zeros(dim)
    df[list(frequencies)] = list(frequencies.values())
    idf = np.log((len(texts.documents) - df + 0.5) / (df + 0.5) + 1).astype(np.float32)
    indptr, indices = [0], []
    for encoding in tokenizer.encode_batch(texts.queries, add_special_tokens=False):
        indices += sorted(list(dict.fromkeys(encoding.ids))[:_STATIC_TOKENS])
        indptr.append(len(indices))
    columns = np.array(indices, dtype=np.int32)
    return sparse.csr_array(
        (idf[columns], columns, np.array(indptr, dtype=np.int32)), shape=(len(texts.queries), dim)
    )


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
