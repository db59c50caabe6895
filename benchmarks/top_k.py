"""The largest values of wide rows, and sums of few rows: ``python -m benchmarks top-k``.

Selects the k largest of random rows, beside torch; and decodes codes of k entries by the sum of
their rows of a dictionary (torch's embedding_bag), beside the product of dense codes with it. One
thread. Needs torch. Writes FILE.json and FILE.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.environment import Environment, environment, environment_lines
from benchmarks.markdown import table
from benchmarks.records_io import write_json
from benchmarks.say import say
from sparseret import kernels

__all__ = ["TopKReport", "main", "markdown", "times_first"]

_ROWS = 64
_FEATURES = 768
_SEED = 0


@dataclass(frozen=True)
class Timed:
    """One method."""

    what: str
    """"top-k" or "decode"."""
    method: str
    k: int
    microseconds: tuple[float, ...]
    """A row, in each round."""


@dataclass(frozen=True)
class TopKReport:
    """Everything measured."""

    environment: Environment
    width: int
    selections: list[Timed]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks top-k", description=__doc__)
    parser.add_argument("--width", type=int, default=65_536, help="values of a row, latents")
    parser.add_argument("--k", nargs="+", type=int, default=[32, 64, 256])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/top-k"))
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(_SEED)
    rows = rng.standard_normal((_ROWS, options.width)).astype(np.float32)
    tensor = torch.from_numpy(rows)
    dictionary = torch.randn(options.width, _FEATURES, generator=torch.Generator().manual_seed(0))
    timed: list[Timed] = []
    for k in options.k:
        say(f"k={k}")
        found = kernels.top_k(rows, k)
        columns = torch.from_numpy(found.columns.astype(np.int64))
        values = torch.from_numpy(found.values)
        if not torch.equal(tensor.topk(k, dim=1).indices.sort(dim=1).values, columns):
            raise ValueError("the k largest differ from torch's")
        codes = torch.zeros_like(tensor).scatter_(1, columns, values)

        def select(k: int = k) -> Any:
            return kernels.top_k(rows, k)

        def select_statistically(k: int = k) -> Any:
            return kernels.statistical_top_k(rows, k)

        def select_torch(k: int = k) -> Any:
            return tensor.topk(k, dim=1)

        def decode(columns: Any = columns, values: Any = values) -> Any:
            return torch.nn.functional.embedding_bag(
                columns, dictionary, mode="sum", per_sample_weights=values
            )

        def decode_densely(codes: Any = codes) -> Any:
            return codes @ dictionary

        timed += _time("top-k", k, options.rounds, {
            "sparseret": select, "sparseret, statistical": select_statistically,
            "torch": select_torch,
        })  # fmt: skip
        with torch.inference_mode():
            timed += _time(
                "decode", k, options.rounds, {"rows": decode, "dense product": decode_densely}
            )
    report = TopKReport(environment(("sparseret", "numpy", "torch")), options.width, timed)
    write_json(options.out.with_suffix(".json"), report)
    options.out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


def _time(what: str, k: int, rounds: int, methods: dict[str, Callable[[], Any]]) -> list[Timed]:
    """Methods take turns; a round of each before is not counted."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(rounds + 1):
        for name, call in methods.items():
            start = perf_counter()
            call()
            if number:
                times[name].append((perf_counter() - start) * 1e6 / _ROWS)
    return [Timed(what, name, k, tuple(taken)) for name, taken in times.items()]


def times_first(report: TopKReport, timed: Timed) -> float:
    """Median over rounds of a method's time over that of the first of its kind and k."""
    first = next(t for t in report.selections if (t.what, t.k) == (timed.what, timed.k))
    return median(a / b for a, b in zip(timed.microseconds, first.microseconds, strict=True))


def markdown(report: TopKReport) -> str:
    """The whole report."""
    rows = [
        [t.what, str(t.k), t.method, f"{median(t.microseconds):.1f}",
         f"{times_first(report, t):.2f} ×"]
        for t in report.selections
    ]  # fmt: skip
    lines = [
        *environment_lines(report.environment),
        "",
        f"{_ROWS} rows of {report.width:,} normal values; a dictionary of {report.width:,} rows of "
        f"{_FEATURES} values. One thread; medians a row, and of the ratios of paired rounds.",
        "",
        *table(["what", "k", "method", "µs a row", "times the first"], rows),
    ]
    return "\n".join(lines) + "\n"
