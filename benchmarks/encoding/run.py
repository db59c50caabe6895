"""Texts to SPLADE vectors: ``python -m benchmarks encoding``.

Documents a second and memory of a SPLADE checkpoint in sparseret, with each backend and precision,
and in sentence-transformers; and the time of queries, inference-free and of BM25. One thread.
Needs the extras neural and onnx-export, onnxruntime and sentence-transformers; what is absent is
left out. Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.corpora import DATA
from benchmarks.encoding.encoders import ENCODERS, Encode, load, missing
from benchmarks.encoding.records import PEER, DocumentEncoding, EncodingReport, QueryEncoding
from benchmarks.encoding.tables import markdown
from benchmarks.environment import environment
from benchmarks.process import FailedError, own_module
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.encoders.inference_free import InferenceFreeEncoder, collection_idf
from sparseret.encoders.model_folder import find_folder
from sparseret.encoders.onnx_body import export_onnx
from sparseret.encoders.text_batches import TextTokenizer
from sparseret.eval.datasets import load_dataset
from sparseret.readers import read_documents

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["main"]

_BLOCK = 64
_SEED = 11
_QUERY_ROUNDS = 20
"""At least: they take milliseconds."""
_VERSIONS = ("sparseret", "sentence-transformers", "torch", "transformers", "onnxruntime",
             "tokenizers", "numpy")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _parser().parse_args(arguments)
    if options.model is None:
        from benchmarks.splade_model import fetch_model  # imports torch

        options.model = fetch_model(DATA / "splade-tiny")
    model = find_folder(options.model)
    dataset = load_dataset(options.texts)
    texts = [record.document.content for record in read_documents(dataset.corpus)]
    chosen = np.random.default_rng(_SEED).permutation(len(texts))[: options.documents]
    documents = [texts[row] for row in chosen.tolist()]
    tokenizer = TextTokenizer(model, max_length=options.max_length)
    tokens = [len(ids) for ids in tokenizer.encode(documents).ids]
    names = []
    for name in options.encoder or ENCODERS:
        if why := missing(name):
            say(f"{name} is left out: {why}")
        else:
            names.append(name)
    with tempfile.TemporaryDirectory(prefix="encoding-") as scratch:
        exported = Path(scratch, "onnx")
        if any(name.startswith("onnx") for name in names):
            say("exporting the body to ONNX")
            export_onnx(model, exported)
        encoded = _measure_documents(names, model, exported, documents, options)
        queries = [query.text for query in dataset.queries]
        timed = _measure_queries(model, texts, queries, options.rounds, Path(scratch))
    report = EncodingReport(
        environment(_VERSIONS), Path(options.texts).name, len(documents), float(np.mean(tokens)),
        options.max_length, options.peer_batch, tokenizer.tokenizer.get_vocab_size(),
        options.rounds, tuple(encoded), len(queries), tuple(timed),
    )  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def _measure_documents(
    names: Sequence[str],
    model: Path,
    exported: Path,
    documents: list[str],
    options: argparse.Namespace,
) -> list[DocumentEncoding]:
    given = (model, exported, options.max_length, options.peer_batch)
    memory = {name: _memory(name, given, documents) for name in names}
    encoders = [load(name, *given) for name in names]
    say(f"timing {', '.join(names)}")
    made = [encode(documents) for encode in encoders]  # untimed
    rates = _rates(encoders, documents, options.rounds)
    expected = made[names.index(PEER)] if PEER in names else None
    return [
        DocumentEncoding(name, tuple(rate), *memory[name], *_difference(own, expected, name))
        for name, rate, own in zip(names, rates, made, strict=True)
    ]


def _memory(name: str, given: Sequence[object], documents: list[str]) -> tuple[float, float]:
    """Resident set before and at the peak of encoding, MB."""
    say(f"memory of {name}")
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(documents, file)
        file.flush()
        command = [*own_module("benchmarks.encoding.probe"), name, *map(str, given), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(f"{name}: {done.stderr.strip()}")
    before, peak = json.loads(done.stdout.splitlines()[-1])
    return before, peak


def _rates(encoders: Sequence[Encode], documents: list[str], rounds: int) -> list[list[float]]:
    """Documents a second of each encoder in each round, in turns by blocks of documents."""
    seconds = np.zeros((len(encoders), rounds))
    for r in range(rounds):
        for begin in range(0, len(documents), _BLOCK):
            block = documents[begin : begin + _BLOCK]
            for e in np.roll(np.arange(len(encoders)), r + begin // _BLOCK).tolist():
                start = time.perf_counter()
                encoders[e](block)
                seconds[e, r] += time.perf_counter() - start
    rates: list[list[float]] = (len(documents) / seconds).tolist()
    return rates


def _difference(
    own: csr_array, expected: csr_array | None, name: str
) -> tuple[float | None, int | None]:
    if expected is None or name == PEER:
        return None, None
    apart = abs(own - expected)
    return float(apart.max()), int(((own > 0) != (expected > 0)).sum())


def _measure_queries(
    model: Path, texts: list[str], queries: list[str], rounds: int, scratch: Path
) -> list[QueryEncoding]:
    say("timing queries")
    table = scratch / "idf.json"
    table.write_text(json.dumps(collection_idf(model, texts)), "utf-8")
    made = {"BM25": BM25Encoder().fit(texts), "inference-free": InferenceFreeEncoder(model,
            queries=table)}  # fmt: skip
    encoders: list[tuple[str, Callable[[Sequence[str]], object]]] = [
        (name, encoder.encode_queries) for name, encoder in made.items()
    ]
    n = len(queries)
    # The tokens of the documents are in BM25's memory, where an opened index has none of them.
    fresh = BM25Encoder().fit(texts)
    fresh._columns = {}
    cold = {
        name: _microseconds(lambda encode=encode: encode(queries), n)  # type: ignore[misc]
        for name, encode in (("BM25", fresh.encode_queries), encoders[1])
    }
    batch: dict[str, list[float]] = {name: [] for name, _ in encoders}
    single: dict[str, list[float]] = {name: [] for name, _ in encoders}
    for r in range(max(_QUERY_ROUNDS, rounds)):
        for name, encode in encoders if r % 2 else encoders[::-1]:
            batch[name].append(_microseconds(lambda encode=encode: encode(queries), n))  # type: ignore[misc]
            each = lambda encode=encode: [encode([query]) for query in queries]  # noqa: E731
            single[name].append(_microseconds(each, n))
    return [
        QueryEncoding(name, median(batch[name]), median(single[name]), cold[name])
        for name, _ in encoders
    ]


def _microseconds(call: Callable[[], object], n: int) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) / n * 1e6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks encoding", description=__doc__)
    parser.add_argument(
        "--texts", required=True, help="a folder in BEIR's layout, or a name of a dataset"
    )
    parser.add_argument("--model", help="a SPLADE folder; by default SPLADE-tiny, which is fetched")
    parser.add_argument("--documents", type=int, default=256, help="of the collection, at random")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--peer-batch", type=int, default=32, help="its own default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder", nargs="+", choices=ENCODERS, help="by default all")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/encoding"))
    return parser
