"""Fusions of BM25, SPLADE, dense vectors and their codes: ``python -m benchmarks hybrid``.

Makes runs of each on collections, fuses each pair, the first three and all, untuned and tuned, and
tests the differences. Dense vectors are searched by their full product; codes are those of a
k-sparse autoencoder that is trained on each collection's documents (k = 32). Needs torch and
transformers. Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes import Collection, latents_of
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.eval.fusion_lists import leg_lists
from sparseret.eval.runs import RankedDocument, Run, run_from_hits
from sparseret.eval.tune_fusion import Baseline, TunedFusion, tune_fusion
from sparseret.indexers.fusion import Convex, Leg, ReciprocalRank, fuse
from sparseret.readers import read_documents
from sparseret.retriever import Retriever

__all__ = ["HybridReport", "main", "markdown"]

_MEASURE = "nDCG@10"
_LOWER_BOUNDS = {"bm25": 0.0, "splade": 0.0, "dense": -1.0}
"""Codes have none: products of queries with latents may be negative."""
_K = 32
_QUERY_K = 4 * _K


@dataclass(frozen=True)
class Difference:
    """Of the tuned fusion, out of fold, to something else."""

    name: str
    mean: float
    """Of the other."""
    difference: float
    p: float
    """Of the randomisation test."""


@dataclass(frozen=True)
class Hybrid:
    """What a set of legs reaches on a collection."""

    collection: str
    legs: tuple[str, ...]
    queries: int
    tuned: float
    """Out of fold."""
    in_sample: float
    fusion: str
    best_leg: Difference
    reciprocal_rank: Difference
    min_max: Difference


@dataclass(frozen=True)
class FuseTime:
    """How long fusing the lists of a query takes: medians over queries, of the best of rounds."""

    collection: str
    legs: tuple[str, ...]
    k: int
    reciprocal_rank_us: float
    min_max_us: float


@dataclass(frozen=True)
class HybridReport:
    """Everything measured."""

    environment: Environment
    dense_model: str
    splade_model: str
    depth: int
    hybrids: list[Hybrid]
    fuse_times: list[FuseTime]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hybrid", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--splade", required=True, help="folder of a SPLADE model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--depth", type=int, default=200, help="results of each leg")
    parser.add_argument("--rounds", type=int, default=7, help="of timing")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/hybrid"))
    options = parser.parse_args(arguments)
    dense = load_dense(find_folder(options.model))
    splade = find_folder(options.splade)
    hybrids, times = [], []
    for source in options.sets:
        collection = Collection(source, dense, short=False)
        runs = {
            "bm25": _run(collection, "bm25", {}, options.depth),
            "splade": _run(collection, "splade", {"folder": str(splade)}, options.depth),
            "dense": _dense_run(collection, options.depth),
            "codes": _codes_run(collection, options.depth),
        }
        for legs in (*itertools.combinations(runs, 2), tuple(runs)[:3], tuple(runs)):
            chosen = {leg: runs[leg] for leg in legs}
            bounds = {leg: _LOWER_BOUNDS[leg] for leg in legs if leg in _LOWER_BOUNDS}
            tuned = tune_fusion(chosen, collection.dataset.qrels, lower_bounds=bounds)
            hybrids.append(_hybrid(collection.name, tuned))
            times.append(_fuse_time(collection, chosen, options.rounds))
            say(f"{collection.name}, {' + '.join(legs)}: {hybrids[-1].tuned:.4f}")
    report = HybridReport(
        environment(("sparseret", "torch", "transformers", "numpy")),
        Path(options.model).name, Path(options.splade).name, options.depth, hybrids, times,
    )  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def _run(collection: Collection, encoder: str, options: dict[str, object], depth: int) -> Run:
    say(f"searching {collection.name} with {encoder}")
    queries = collection.dataset.queries
    with tempfile.TemporaryDirectory(prefix="sparseret-hybrid-") as folder:
        path = Path(folder) / "index"
        with Retriever.create(path, encoder, encoder_options=options) as retriever:
            retriever.add(record.document for record in read_documents(collection.dataset.corpus))
            retriever.commit()
            hits = retriever.retrieve([query.text for query in queries], depth)
    return run_from_hits([query.id for query in queries], hits)


def _dense_run(collection: Collection, depth: int) -> Run:
    return _best(collection, collection.queries @ collection.documents.T, depth)


def _codes_run(collection: Collection, depth: int) -> Run:
    say(f"training codes of {collection.name}")
    trainer = AutoencoderTrainer(
        latents_of(len(collection.ids)), _K, "topk", epochs=30, batch_size=100, learning_rate=2e-3
    )
    codec = trainer.fit(collection.documents).codec.refitted()
    codes, asked = (
        codec.transform(collection.documents),
        codec.project(collection.queries, _QUERY_K),
    )
    return _best(collection, (asked @ codes.T).toarray(), depth)


def _best(collection: Collection, scores: NDArray[np.float32], depth: int) -> Run:
    run = {}
    for query, row in zip(collection.dataset.queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:depth]
        run[query.id] = [RankedDocument(collection.ids[place], float(row[place])) for place in best]
    return run


def _hybrid(collection: str, tuned: TunedFusion) -> Hybrid:
    reciprocal_rank, min_max = tuned.untuned
    return Hybrid(
        collection,
        tuple(tuned.legs),
        len(tuned.scores.per_query),
        tuned.scores.mean[tuned.measure],
        tuned.in_sample,
        tuned.fusion.description,
        _difference(tuned.best_leg),
        _difference(reciprocal_rank),
        _difference(min_max),
    )


def _difference(baseline: Baseline) -> Difference:
    test = baseline.comparison
    return Difference(baseline.name, test.baseline_mean, test.difference, test.p_randomisation)


def _fuse_time(collection: Collection, runs: dict[str, Run], rounds: int, k: int = 10) -> FuseTime:
    lists = list(leg_lists(runs, collection.dataset.qrels).queries.values())
    # As an index hands them over: single precision.
    legs = [[Leg(leg.numbers, leg.scores.astype(np.float32)) for leg in q] for q in lists]
    medians = []
    for fusion in (ReciprocalRank(), Convex()):
        best = np.full(len(legs), np.inf)
        for _ in range(rounds):
            for i, of_query in enumerate(legs):
                begin = time.perf_counter_ns()
                fuse(fusion, of_query, k)
                best[i] = min(best[i], (time.perf_counter_ns() - begin) / 1e3)
        medians.append(float(np.median(best)))
    return FuseTime(collection.name, tuple(runs), k, *medians)


def markdown(report: HybridReport) -> str:
    """The whole report."""
    rows = [
        [h.collection, " + ".join(h.legs), f"{h.best_leg.name} {h.best_leg.mean:.4f}",
         f"{h.reciprocal_rank.mean:.4f}", f"{h.min_max.mean:.4f}", f"{h.tuned:.4f}",
         _tested(h.best_leg), _tested(h.reciprocal_rank), _tested(h.min_max)]
        for h in report.hybrids
    ]  # fmt: skip
    chosen = [
        [h.collection, " + ".join(h.legs), h.fusion, f"{h.in_sample:.4f}"] for h in report.hybrids
    ]
    times = [
        [t.collection, " + ".join(t.legs), f"{t.reciprocal_rank_us:.0f}", f"{t.min_max_us:.0f}"]
        for t in report.fuse_times
    ]
    lines = [
        *environment_lines(report.environment),
        "",
        f"{_MEASURE} of fusions of BM25, SPLADE ({report.splade_model}), dense vectors "
        f"({report.dense_model}) and codes of these, from the best {report.depth} of each. "
        "Tuned: by 5-fold cross-validation, each query by what was chosen without it; then its "
        "difference to the best leg and to fusions of equal weights, with p of the paired "
        "randomisation test, in bold below 0.05; not corrected for the number of comparisons.",
        "",
        *table(
            ["collection", "legs", "best leg", "reciprocal rank, k=60", "min-max", "tuned",
             "to best leg", "to reciprocal rank", "to min-max"],
            rows,
        ),
        "",
        "What is chosen on all queries, and its value on them, which flatters:",
        "",
        *table(["collection", "legs", "fusion, weights in the order of legs", _MEASURE], chosen),
        "",
        f"Fusing the lists of one query for its top {report.fuse_times[0].k}, microseconds "
        "(median over queries of the best round, one thread):",
        "",
        *table(["collection", "legs", "reciprocal rank", "min-max"], times),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _tested(other: Difference) -> str:
    p = "< 0.001" if other.p < 0.001 else f"{other.p:.3f}"
    shown = f"{other.difference:+.4f} (p {p})"
    return f"**{shown}**" if other.p < 0.05 else shown
