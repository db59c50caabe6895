"""The JSON files that the commands wrote, read back as records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.codes import CodesReport
from benchmarks.encoding.records import EncodingReport
from benchmarks.hybrid import HybridReport
from benchmarks.hybrid_speed import HybridSpeedReport
from benchmarks.lexical.records import SearchReport
from benchmarks.limits.records import LimitReport
from benchmarks.memory import MemoryReport
from benchmarks.presets import PresetReport
from benchmarks.projection import ProjectionReport
from benchmarks.ranges.records import RangeReport
from benchmarks.recall import RecallReport
from benchmarks.records_io import read_json
from benchmarks.say import say
from benchmarks.scale.records import ScaleReport
from benchmarks.sdr import OverlapReport
from benchmarks.service import ServiceReport
from benchmarks.startup import StartupReport
from benchmarks.top_k import TopKReport
from benchmarks.two_stage.records import TwoStageReport
from benchmarks.vectors.records import VectorReport
from benchmarks.vocabulary_head import HeadReport
from benchmarks.windows.records import DenseWindowsReport

__all__ = ["Result", "read_results"]

_KINDS: dict[str, type[Any]] = {
    "selections": TopKReport,
    "trained": CodesReport,
    "hybrids": HybridReport,
    "leg_times": HybridSpeedReport,
    "soaks": ServiceReport,
    "overlap_searches": OverlapReport,
    "swept": VectorReport,
    "kept": RecallReport,
    "window_sizes": RangeReport,
    "dense_windows": DenseWindowsReport,
    "adapters": TwoStageReport,
    "limits": LimitReport,
    "sizes": ScaleReport,
    "presets": PresetReport,
    "documents_encoded": EncodingReport,
    "throughput": SearchReport,
    "lives": StartupReport,
    "rows": MemoryReport,
    "heads": HeadReport,
    "projections": ProjectionReport,
}
"""A field that only this kind of report has, and the kind."""


class Result(NamedTuple):
    """One file."""

    file: Path
    record: Any
    """Of one of the kinds above."""


def read_results(files: Sequence[Path]) -> list[Result]:
    """All reports of a known kind; files of other kinds are named on standard error."""
    results = []
    for file in files:
        found = json.loads(file.read_text("utf-8"))
        kind = next((kind for mark, kind in _KINDS.items() if mark in found), None)
        if kind is None:
            say(f"{file} is left out: no report of a kind known here")
        else:
            results.append(Result(file, read_json(file, kind)))
    return results
