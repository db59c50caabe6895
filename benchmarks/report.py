"""docs/benchmarks.md out of benchmarks/results: ``python -m benchmarks report``.

Holds the results against what is promised, draws plots that are missing, and names the commands
that make the results that are not there.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.codes import CodesReport
from benchmarks.codes import markdown as codes_markdown
from benchmarks.encoding.records import EncodingReport
from benchmarks.encoding.tables import markdown as encoding_markdown
from benchmarks.hybrid import HybridReport
from benchmarks.hybrid import markdown as hybrid_markdown
from benchmarks.hybrid_speed import HybridSpeedReport
from benchmarks.hybrid_speed import markdown as hybrid_speed_markdown
from benchmarks.lexical.records import SearchReport
from benchmarks.lexical.tables import markdown as lexical_markdown
from benchmarks.limits.records import LimitReport
from benchmarks.limits.tables import markdown as limits_markdown
from benchmarks.memory import MemoryReport
from benchmarks.memory import markdown as memory_markdown
from benchmarks.presets import PresetReport
from benchmarks.presets import markdown as presets_markdown
from benchmarks.projection import ProjectionReport
from benchmarks.projection import markdown as projection_markdown
from benchmarks.ranges.records import RangeReport
from benchmarks.ranges.tables import markdown as ranges_markdown
from benchmarks.ranges.tables import plot_report as plot_ranges
from benchmarks.recall import RecallReport
from benchmarks.recall import markdown as recall_markdown
from benchmarks.result_files import Result, read_results
from benchmarks.scale.records import ScaleReport
from benchmarks.scale.tables import markdown as scale_markdown
from benchmarks.scale.tables import plot_report as plot_scale
from benchmarks.sdr import OverlapReport
from benchmarks.sdr import markdown as sdr_markdown
from benchmarks.service import ServiceReport
from benchmarks.service import markdown as service_markdown
from benchmarks.startup import StartupReport
from benchmarks.startup import markdown as startup_markdown
from benchmarks.targets import check, target_lines
from benchmarks.top_k import TopKReport
from benchmarks.top_k import markdown as top_k_markdown
from benchmarks.two_stage.records import TwoStageReport
from benchmarks.two_stage.tables import markdown as two_stage_markdown
from benchmarks.vectors.plots import plot_report as plot_vectors
from benchmarks.vectors.records import VectorReport
from benchmarks.vectors.tables import markdown as vectors_markdown
from benchmarks.vocabulary_head import HeadReport
from benchmarks.vocabulary_head import markdown as head_markdown
from benchmarks.windows.records import DenseWindowsReport
from benchmarks.windows.tables import markdown as windows_markdown

__all__ = ["main"]

_CORPORA = ("splade-long", "splade-short", "msmarco-like:1000000")
_STATIC = ("splade-long-static", "splade-short-static")
_COMMANDS = {
    **{f"vectors-{c}": f"run --corpus {c}" for c in (*_CORPORA, *_STATIC)},
    **{f"recall-{c}": f"recall --corpus {c}" for c in _CORPORA},
    **{f"ranges-{c}": f"ranges --corpus {c}" for c in _CORPORA},
    **{f"limits-{c}": f"limits --corpus {c}" for c in _CORPORA},
    "windows": "windows",
    "two-stage": "two-stage --model MODEL --more SENTENCES.npy --jittered 400000 --queries 100 "
    "--budget 80 --sets ../shared/data/cranfield ../shared/data/nfcorpus ../shared/data/scifact",
    "scale": "scale",
    "presets": "presets",
    "encoding": "encoding --texts ../shared/data/scifact",
    "small": "lexical --corpus scifact --corpus nfcorpus --out benchmarks/results/small",
    "million": "lexical --corpus generated:1000000 --out benchmarks/results/million",
    "startup": "startup",
    "memory": "memory",
    "head": "head",
    "projection": "projection",
    "sdr": "sdr",
    "top-k": "top-k",
    "codes": "codes --model MODEL --sets ../shared/data/cranfield ../shared/data/nfcorpus "
    "../shared/data/scifact",
    "hybrid": "hybrid --model MODEL --splade SPLADE --sets ../shared/data/cranfield "
    "../shared/data/cisi ../shared/data/nfcorpus ../shared/data/scifact",
    "hybrid-speed": "hybrid-speed --model MODEL --splade SPLADE --sets ../shared/data/cranfield "
    "../shared/data/scifact",
    "service": "service --minutes 0 --sets cranfield ../shared/data/scifact",
    "service-soak": "service --minutes 30 --seconds 2 --out benchmarks/results/service-soak",
}
"""The results that a full page is made of, and the command that makes each."""


class _Kind(NamedTuple):
    """How a kind of report is shown."""

    record: type[Any]
    markdown: Callable[[Any], str]
    plot: Callable[[Path, Any], bool] | None
    pictures: Callable[[Any], list[str]]
    """What the names of its pictures have after that of the file."""


_OF_CORPUS = (
    _Kind(
        VectorReport, vectors_markdown, plot_vectors,
        lambda r: [f"-k{k}" for k in dict.fromkeys(m.k for m in r.measured)],
    ),
    _Kind(RecallReport, recall_markdown, None, lambda _: []),
    _Kind(RangeReport, ranges_markdown, plot_ranges, lambda _: [""]),
    _Kind(LimitReport, limits_markdown, None, lambda _: []),
)  # fmt: skip
_OTHERS = (
    ("Dense windows", _Kind(DenseWindowsReport, windows_markdown, None, lambda _: [])),
    ("Memory budgets", _Kind(TwoStageReport, two_stage_markdown, None, lambda _: [])),
    ("Growth", _Kind(ScaleReport, scale_markdown, plot_scale, lambda _: [""])),
    ("Rounding and pruning", _Kind(PresetReport, presets_markdown, None, lambda _: [])),
    ("Encoding", _Kind(EncodingReport, encoding_markdown, None, lambda _: [])),
    ("BM25", _Kind(SearchReport, lexical_markdown, None, lambda _: [""])),
    ("Starting", _Kind(StartupReport, startup_markdown, None, lambda _: [])),
    ("Memory of indexing", _Kind(MemoryReport, memory_markdown, None, lambda _: [])),
    ("Vocabulary product", _Kind(HeadReport, head_markdown, None, lambda _: [])),
    ("Projection", _Kind(ProjectionReport, projection_markdown, None, lambda _: [])),
    ("Largest values", _Kind(TopKReport, top_k_markdown, None, lambda _: [])),
    ("Codes of dense vectors", _Kind(CodesReport, codes_markdown, None, lambda _: [])),
    ("Hybrid search", _Kind(HybridReport, hybrid_markdown, None, lambda _: [])),
    ("Cost of legs", _Kind(HybridSpeedReport, hybrid_speed_markdown, None, lambda _: [])),
    ("HTTP service", _Kind(ServiceReport, service_markdown, None, lambda _: [])),
    ("Binary codes", _Kind(OverlapReport, sdr_markdown, None, lambda _: [])),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args(arguments)
    results = read_results(sorted(options.results.glob("*.json")))
    lines = [*_page(results, options.out.parent)]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{options.out}: {len(results)} results")


def _page(results: Sequence[Result], folder: Path) -> Iterator[str]:
    yield from (
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks report` of the files in `benchmarks/results`. Each section "
        "begins with the command that measured it, the machine and the versions. What is measured, "
        "and how, is in [benchmarks/README.md](../benchmarks/README.md).",
        "",
        "## Targets",
        "",
        *target_lines(check([result.record for result in results])),
    )
    yield from _missing(results)
    for corpus in dict.fromkeys(name for r in results if (name := _corpus(r.record))):
        yield from ("", f"## {corpus}")
        for kind in _OF_CORPUS:
            for result in results:
                if isinstance(result.record, kind.record) and _corpus(result.record) == corpus:
                    yield from _section(result, kind, folder)
    for title, kind in _OTHERS:
        own = [result for result in results if isinstance(result.record, kind.record)]
        if own:
            yield from ("", f"## {title}")
        for result in own:
            yield from _section(result, kind, folder)


def _corpus(record: Any) -> str | None:
    """The corpus of vectors that a report is about; None for reports of another kind."""
    if isinstance(record, VectorReport):
        return record.corpus.name
    return record.corpus if isinstance(record, RecallReport | RangeReport | LimitReport) else None


def _missing(results: Sequence[Result]) -> list[str]:
    present = {result.file.stem for result in results}
    rows = [
        f"- `{name}.json`: `python -m benchmarks {command}`"
        for name, command in ((n.replace(":", "-"), c) for n, c in _COMMANDS.items())
        if name not in present
    ]
    return ["", "## Not measured yet", "", *rows] if rows else []


def _section(result: Result, kind: _Kind, folder: Path) -> Iterator[str]:
    """The report two levels down, under a heading if it brings none, and its pictures."""
    lines = kind.markdown(result.record).rstrip("\n").splitlines()
    if not lines[0].startswith("#"):
        lines = [f"# {result.file.stem}", "", *lines]
    yield from ("", *(re.sub("^#", "###", line) for line in lines))
    for suffix in kind.pictures(result.record):
        picture = _picture(result, kind, suffix)
        if picture is not None:
            where = Path(os.path.relpath(picture, folder)).as_posix()
            yield from ("", f"![{result.file.stem}{suffix}]({where})")


def _picture(result: Result, kind: _Kind, suffix: str) -> Path | None:
    """The picture, drawn unless the command did; None where that cannot be done."""
    named = [result.file.with_name(f"{result.file.stem}{suffix}.{end}") for end in ("svg", "png")]
    if kind.plot is not None and not any(file.exists() for file in named):
        kind.plot(result.file.with_suffix(""), result.record)
    return next((file for file in named if file.exists()), None)
