"""Dense search within a budget of memory: ``python -m benchmarks two-stage``.

Two-stage search of real vectors, and of more vectors than the budget holds, against faiss's IVF-PQ
and a scan of everything in memory, each in a process whose private memory is limited. Writes
two-stage.json, .md and .svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes import Collection
from benchmarks.environment import environment
from benchmarks.process import FailedError, own_module
from benchmarks.records_io import write_json
from benchmarks.say import say
from benchmarks.two_stage.learning import adapters, learned_codes
from benchmarks.two_stage.records import Corpus, Point, TwoStageReport, Way
from benchmarks.two_stage.tables import markdown, plot
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.indexers.dense_segment import read_dense_segment, write_dense_segment
from sparseret.indexers.dense_settings import DenseSettings

__all__ = ["main"]

_SEED = 5
_NOISE = 0.5
_BLOCK = 2**14
_CANDIDATES = (100, 200, 500, 1000, 2000)
_LISTS = (8, 32, 128)
_CODES = (("binary", 48), ("binary", 24), ("pq", 48), ("pq", 24))
_FAISS_BYTES = 48


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    dense = load_dense(find_folder(options.model))
    collections = [Collection(source, dense, short=False) for source in options.sets]
    more = [np.load(file) for file in options.more]
    real = _unit(np.concatenate([*(c.documents for c in collections), *more]))
    real = real[real.any(axis=1)]
    queries = _unit(np.concatenate([c.queries for c in collections]))
    queries = queries[np.random.default_rng(_SEED).permutation(len(queries))[: options.queries]]
    corpora = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="two-stage-") as scratch:
        folder = Path(scratch)
        name = "MiniLM vectors of documents, titles and sentences"
        corpora.append(_corpus(name, real, queries, options.small_budget, folder, options))
        if options.jittered:
            name = f"the same with noise of norm {_NOISE}, many of each"
            path = _jittered(folder / "jittered.npy", real, options.jittered)
            made = np.load(path, mmap_mode="r")
            corpora.append(_corpus(name, made, queries, options.budget, folder, options))
    report = TwoStageReport(
        environment(("sparseret", "numpy", "faiss-cpu", "torch")), tuple(corpora),
        learned_codes(collections, dense), adapters(collections, dense),
    )  # fmt: skip
    write_json(options.out / "two-stage.json", report)
    text = markdown(report)
    (options.out / "two-stage.md").write_text(text, encoding="utf-8")
    plot(options.out / "two-stage.svg", report)
    print(text)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    made: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return made


def _jittered(path: Path, real: NDArray[np.float32], n: int) -> Path:
    rng = np.random.default_rng(_SEED)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (n, real.shape[1]))
    for begin in range(0, n, _BLOCK):
        m = min(_BLOCK, n - begin)
        rows = real[rng.integers(0, len(real), m)]
        scale = np.float32(_NOISE / np.sqrt(real.shape[1]))
        made[begin : begin + m] = _unit(rows + rng.standard_normal(rows.shape, np.float32) * scale)
    made.flush()
    return path


def _corpus(
    name: str,
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    budget_mb: float,
    folder: Path,
    options: argparse.Namespace,
) -> Corpus:
    say(f"{len(vectors):,} vectors: {name}")
    n, dim = vectors.shape
    np.save(folder / "queries.npy", queries)
    np.save(folder / "truth.npy", _truth(vectors, queries))
    asked: dict[str, Any] = {
        "queries": str(folder / "queries.npy"), "truth": str(folder / "truth.npy"),
        "budget": int(budget_mb * 1e6),
    }  # fmt: skip
    ways = []
    for kind, code_bytes in _CODES:
        settings = DenseSettings(kind, code_bytes=code_bytes)  # type: ignore[arg-type]
        segment, seconds = _segment(folder, vectors, settings)
        more = {"way": "two-stage", "efforts": _CANDIDATES, "cold": True}
        ways.append(_way(f"{kind}, {code_bytes} bytes", asked | segment | more, n, seconds))
        if (kind, code_bytes) != _CODES[-1]:
            Path(segment["segment"]).unlink()
    index, seconds = _faiss(folder, vectors, options.lists)
    for way in ("faiss", "faiss, scored again"):
        more = {"way": way, "index": index, "efforts": _LISTS, "cold": False}
        label = f"IVF-PQ of faiss, {_FAISS_BYTES} bytes" + ", scored again" * (way != "faiss")
        ways.append(_way(label, asked | segment | more, n, seconds))
    more = {"way": "all in memory", "efforts": [None], "cold": False}
    for unlimited in (False, True):
        if unlimited:
            if ways[-1].within_budget:
                break
            del ways[-1]
            more["budget"] = 2**40
        ways.append(_way("all in memory", asked | segment | more, n, 0.0))
        if unlimited:
            ways[-1] = Way(**{**vars(ways[-1]), "within_budget": False})
    Path(segment["segment"]).unlink()
    return Corpus(name, n, dim, len(queries), 4 * n * dim / 1e6, budget_mb, tuple(ways))


def _truth(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    rows = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for begin in range(0, len(vectors), _BLOCK):
        products = queries @ vectors[begin : begin + _BLOCK].T
        rows = np.hstack([rows, np.tile(np.arange(products.shape[1]) + begin, (len(queries), 1))])
        scores = np.hstack([scores, products])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :100]
        rows, scores = np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)
    return rows


def _segment(
    folder: Path, vectors: NDArray[np.float32], settings: DenseSettings
) -> tuple[dict[str, Any], float]:
    path = folder / f"{settings.kind}-{settings.code_bytes}"
    start = time.perf_counter()
    size, crc = write_dense_segment(path, np.arange(len(vectors)), vectors, settings)
    read_dense_segment(path, size=size, header_crc=crc)
    seconds = time.perf_counter() - start
    return {"segment": str(path), "size": size, "crc": crc}, seconds


def _faiss(folder: Path, vectors: NDArray[np.float32], n_lists: int) -> tuple[str, float]:
    import faiss

    faiss.omp_set_num_threads(1)
    start = time.perf_counter()
    dim = vectors.shape[1]
    quantiser = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQ(
        quantiser, dim, n_lists, _FAISS_BYTES, 8, faiss.METRIC_INNER_PRODUCT
    )  # fmt: skip
    some = np.linspace(0, len(vectors) - 1, min(len(vectors), 39 * n_lists)).astype(np.int64)
    index.train(np.ascontiguousarray(vectors[some]))
    for begin in range(0, len(vectors), _BLOCK):
        index.add(np.ascontiguousarray(vectors[begin : begin + _BLOCK]))
    path = str(folder / "faiss")
    faiss.write_index(index, path)
    return path, time.perf_counter() - start


def _way(name: str, asked: dict[str, Any], n: int, seconds: float) -> Way:
    say(name)
    command = [*own_module("benchmarks.two_stage.probe"), json.dumps(asked)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise FailedError(f"{name}: {ended.stderr.strip()}")
    told = json.loads(ended.stdout)
    if not told["fits"]:
        return Way(name, 0.0, 0.0, seconds, False, None, ())
    points = tuple(Point(*point) for point in told["points"])
    say("  ".join(f"{p.effort}: {p.recall_10:.3f} {p.median_ms:.1f} ms" for p in points))
    return Way(
        name, told["anonymous"] / 1e6, told["anonymous"] / n, seconds, True, told["cold_ms"], points
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks two-stage", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--more", nargs="*", default=[], help=".npy files: more vectors of it")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--jittered", type=int, default=500_000, help="vectors; 0 for none")
    parser.add_argument("--small-budget", type=float, default=24.0, help="MB, for the real vectors")
    parser.add_argument("--budget", type=float, default=96.0, help="MB, for the jittered ones")
    parser.add_argument("--lists", type=int, default=512, help="of faiss")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where vectors are kept meanwhile"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="a folder")
    return parser
