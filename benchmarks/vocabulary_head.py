"""The vocabulary product of SPLADE, pooled over a text's tokens: ``python -m benchmarks head``.

States are of real texts where torch, transformers and a model are there (``--model``; without it,
the folder that ``python -m benchmarks.splade`` keeps), or else random. All methods must find the
same entries. Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from scipy.sparse import csr_array

from benchmarks.corpora import DATA, load_corpus
from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.head_states import Decoder, States, random_states, text_states
from benchmarks.markdown import table
from benchmarks.process import memory_mb
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret.kernels import PooledRows, VocabularyHead

__all__ = ["HeadReport", "main", "markdown", "measure_heads"]

_SLICE = 512
"""Columns at a time in the blocked product of NumPy: their logits stay in the cache."""

_Pool = Callable[[States], PooledRows]


@dataclass(frozen=True)
class Head:
    """One method on texts of one length."""

    method: str
    tokens: int
    """Of each text."""
    texts: int
    """In a call."""
    values: float
    """Found in a text, on average."""
    milliseconds: tuple[float, ...]
    """A text, in each round."""
    peak_mb: float | None
    """What the first call added to the resident set at its peak, 1e6 bytes; None where the system
    does not tell."""


@dataclass(frozen=True)
class HeadReport:
    """Everything measured."""

    environment: Environment
    states: str
    """What they are of."""
    columns: int
    width: int
    heads: list[Head]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks head", description=__doc__)
    parser.add_argument("--model", type=Path, default=DATA / "splade-tiny")
    parser.add_argument("--corpus", default="scifact", help="whose texts become states")
    parser.add_argument("--tokens", nargs="+", type=int, default=[256, 32])
    parser.add_argument("--texts", type=int, default=8, help="texts in a call")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--random", nargs=2, type=int, metavar=("COLUMNS", "WIDTH"),
                        help="random states and a decoder of this shape")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/head"))
    options = parser.parse_args(arguments)
    shape, what = options.random, "random"
    absent = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if not (options.model / "config.json").exists():
        absent.append(str(options.model))
    if absent and not shape:
        shape = (30_522, 128)
        say(f"random states, for there is no {' and no '.join(absent)}")
    if shape:
        decoder, states = random_states(*shape, options.tokens, options.texts)
    else:
        texts = [document.content for document in load_corpus(options.corpus).documents]
        decoder, states = text_states(options.model, texts, options.tokens, options.texts)
        what = f"{options.model.name} on {options.corpus}"
    report = HeadReport(
        environment(("sparseret", "numpy", "torch", "transformers")), what, *decoder.weight.shape,
        measure_heads(decoder, states, options.rounds),
    )  # fmt: skip
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def measure_heads(decoder: Decoder, states: Sequence[States], rounds: int) -> list[Head]:
    """Time each method on each call's states; they take turns, in rounds.

    Raises:
        ValueError: a method finds other entries than NumPy does, or values that differ by more
            than 1e-4 (8-bit logits: another number of entries).
    """
    methods = _methods(decoder)
    heads = []
    for call in states:
        n_texts = len(call.offsets) - 1
        found = [_with_peak(pool, call) for pool in methods.values()]
        known = found[-1][0]
        for name, (got, _) in zip(methods, found, strict=True):
            _compare(name, got, known, len(decoder.bias))
        times: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(rounds):
            for name, pool in methods.items():
                start = perf_counter()
                pool(call)
                times[name].append((perf_counter() - start) / n_texts * 1e3)
        heads += [
            Head(name, len(call.hidden) // n_texts, n_texts, len(got.values) / n_texts,
                 tuple(times[name]), peak)
            for name, (got, peak) in zip(methods, found, strict=True)
        ]  # fmt: skip
    return heads


def _methods(decoder: Decoder) -> dict[str, _Pool]:
    """By name; the last one says what is right."""
    exact, rounded = VocabularyHead(*decoder), VocabularyHead(*decoder, "int8")

    def blocked(states: States) -> PooledRows:
        maxima = np.empty((len(states.offsets) - 1, len(decoder.bias)), np.float32)
        for t in range(len(maxima)):
            rows = states.hidden[states.offsets[t] : states.offsets[t + 1]]
            for first in range(0, len(decoder.bias), _SLICE):
                part = slice(first, first + _SLICE)
                np.max(rows @ decoder.weight[part].T, axis=0, out=maxima[t, part])
        return _positive(maxima + decoder.bias)

    def whole(states: States) -> PooledRows:
        logits = states.hidden @ decoder.weight.T + decoder.bias
        return _positive(np.maximum.reduceat(logits, states.offsets[:-1]))

    own: dict[str, _Pool] = {
        "sparseret float32": lambda states: exact.maxima(*states),
        "sparseret float32, sums": lambda states: exact.sums(*states),
        "sparseret int8": lambda states: rounded.maxima(*states),
    }
    torch = {"torch, all logits": _torch(decoder)} if importlib.util.find_spec("torch") else {}
    return {**own, **torch, "numpy, blocks of columns": blocked, "numpy, all logits": whole}


def _torch(decoder: Decoder) -> _Pool:
    """As sentence-transformers pools: activation of all logits, and then the maximum."""
    import torch

    torch.set_num_threads(1)
    weight, bias = torch.from_numpy(decoder.weight), torch.from_numpy(decoder.bias)

    def pool(states: States) -> PooledRows:
        n_texts = len(states.offsets) - 1
        hidden = torch.from_numpy(states.hidden).reshape(n_texts, -1, weight.shape[1])
        with torch.inference_mode():
            logits = torch.nn.functional.linear(hidden, weight, bias)
            weights = torch.log1p(torch.relu(logits)).max(dim=1).values
            return _positive(torch.expm1(weights).numpy())

    return pool


def _positive(maxima: np.ndarray) -> PooledRows:
    texts, columns = np.nonzero(maxima > 0)
    indptr = np.concatenate(([0], np.bincount(texts, minlength=len(maxima)).cumsum()))
    return PooledRows(indptr, columns.astype(np.int32), maxima[texts, columns])


def _compare(name: str, got: PooledRows, known: PooledRows, n_columns: int) -> None:
    if "sums" in name:
        same = np.array_equal(got.columns, known.columns)
    elif "int8" in name:
        same = abs(len(got.columns) - len(known.columns)) <= 3 + 0.1 * len(known.columns)
    else:
        # Entries that are all but zero may be there or not: sums in another order differ.
        shape = (len(known.indptr) - 1, n_columns)
        one, other = (csr_array((r.values, r.columns, r.indptr), shape) for r in (got, known))
        same = bool(abs(one - other).max() < 1e-4 * float(known.values.max(initial=1.0)))
    if not same:
        raise ValueError(f"{name} finds something else than NumPy")


def _with_peak(pool: _Pool, states: States) -> tuple[PooledRows, float | None]:
    """A first call, and what it added to the resident set at its peak."""
    status, marks = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        marks.write_text("5")  # the peak is what is resident now
        before = memory_mb(status.read_text())["VmRSS"]
    except OSError:
        return pool(states), None
    found = pool(states)
    return found, memory_mb(status.read_text())["VmHWM"] - before


def markdown(report: HeadReport) -> str:
    """The whole report."""
    fastest = {head.tokens: head for head in reversed(report.heads) if "float32" in head.method}
    rows = [
        [
            head.method,
            str(head.tokens),
            f"{head.values:.0f}",
            f"{median(head.milliseconds):.2f}",
            f"{_ratio(head, fastest[head.tokens]):.1f}",
            "" if head.peak_mb is None else f"{head.peak_mb:.0f}",
        ]
        for head in report.heads
    ]
    header = ["method", "tokens", "values", "ms a text", "times sparseret", "peak MB"]
    return (
        "\n".join(
            [
                *environment_lines(report.environment),
                "",
                f"States: {report.states}; a decoder of {report.columns:,} columns of "
                f"{report.width}; {report.heads[0].texts} texts in a call, one thread. Maxima, "
                'where positive; "times sparseret" is the median of the ratios of paired rounds.',
                "",
                *table(header, rows),
            ]
        )
        + "\n"
    )


def _ratio(head: Head, other: Head) -> float:
    pairs = zip(head.milliseconds, other.milliseconds, strict=True)
    return median(a / b for a, b in pairs)
