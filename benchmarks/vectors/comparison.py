"""One comparison: engines are swept one after another, and measured together."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.vectors.build import FailedError, Index, build_index
from benchmarks.vectors.corpora import VectorCorpus
from benchmarks.vectors.engine import Engine, make_engine, option_line
from benchmarks.vectors.measure import quiet, time_rounds, time_setting
from benchmarks.vectors.opening import Way, opened
from benchmarks.vectors.pick import Candidate, pick
from benchmarks.vectors.records import Built, EngineFacts, Measured, Swept
from benchmarks.vectors.truth import Truth

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Comparison", "Half"]


class Half(NamedTuple):
    """One half of the queries, and the truth for each k."""

    queries: csr_array
    truths: dict[int, Truth]


class Comparison:
    """What has been measured of one corpus.

    Args:
        corpus: documents and queries.
        tuning: settings are picked on these.
        held_out: what is reported is measured on these.
        build_threads: threads of those engines that build with several.
        build_limit: seconds after which a build is given up.

    Attributes:
        engines, built, swept, measured: the records so far.
    """

    def __init__(
        self,
        corpus: VectorCorpus,
        tuning: Half,
        held_out: Half,
        build_threads: int,
        build_limit: float,
    ) -> None:
        self._corpus = corpus
        self._tuning = tuning
        self._held_out = held_out
        self._threads = build_threads
        self._limit = build_limit
        self._picked: dict[int, list[tuple[Way, tuple[float, ...]]]] = {}
        self.engines: list[EngineFacts] = []
        self.built: list[Built] = []
        self.swept: list[Swept] = []
        self.measured: list[Measured] = []

    def sweep(self, name: str) -> None:
        """Build an engine's indexes, time all of its settings, and pick those to be measured."""
        try:
            engine = make_engine(name)
        except ImportError as error:
            self.engines.append(EngineFacts(name, "-", "-", "", f"not installed: {error}"))
            return
        unfit = engine.unfit(self._corpus)
        self.engines.append(
            EngineFacts(name, engine.distribution, _version(engine), engine.remarks, unfit)
        )
        if unfit:
            return
        candidates: dict[int, list[Candidate]] = {k: [] for k in self._tuning.truths}
        for options in engine.builds(self._corpus):
            try:
                index = build_index(
                    engine, self._corpus, options, threads=self._threads, limit=self._limit
                )
            except FailedError as error:
                failed = Built(name, option_line(options), 0, 0, 0, 0, 0, None, 0, str(error))
                self.built.append(failed)
                continue
            self._sweep_index(name, index, candidates)
        for k, own in candidates.items():
            picked = pick(own, self._tuning.queries, k, self._tuning.truths[k])
            self._picked.setdefault(k, []).extend(picked)

    def measure(self, k: int, rounds: int) -> None:
        """Put the held-out queries to all that was picked for k, engines taking turns."""
        ways = [way for way, _ in self._picked[k]]
        truth = self._held_out.truths[k]
        with opened(ways, self._tuning.queries) as pairs:
            timed = time_rounds(pairs, self._held_out.queries, k, truth, rounds)
        for (way, levels), result in zip(self._picked[k], timed, strict=True):
            of_query = np.median(result.microseconds, axis=0)
            worst = np.sort(result.recall)[: max(1, len(result.recall) // 100)]
            self.measured.append(
                Measured(
                    way.engine, option_line(way.index.options), option_line(way.setting.options),
                    k, levels, way.setting.promised, float(result.recall.mean()),
                    float(worst.mean()), float(np.median(of_query)), float(of_query.mean()),
                    float(np.percentile(of_query, 99)), result.batch_us,
                    tuple(result.microseconds.mean(axis=1).tolist()),
                )
            )  # fmt: skip

    def _sweep_index(self, name: str, index: Index, candidates: dict[int, list[Candidate]]) -> None:
        engine = make_engine(name)
        build = option_line(index.options)
        began = time.perf_counter()
        with quiet():
            engine.open(index.folder, index.options, self._tuning.queries)
        seconds = time.perf_counter() - began
        self.built.append(
            Built(name, build, *index.cost, index.disk_bytes, engine.memory_bytes(), seconds)
        )
        try:
            for k, truth in self._tuning.truths.items():
                for setting in engine.settings(k):
                    timed = time_setting(engine, setting, self._tuning.queries, k, truth)
                    recall = float(timed.recall.mean())
                    way = Way(name, index, setting)
                    candidates[k].append(Candidate(way, recall, timed.best_us))
                    self.swept.append(
                        Swept(
                            name, build, option_line(setting.options), k, recall, timed.mean_us,
                            timed.batch_us, setting.exact, setting.promised,
                        )
                    )  # fmt: skip
        finally:
            engine.close()


def _version(engine: Engine) -> str:
    try:
        return version(engine.distribution)
    except PackageNotFoundError:
        return "absent"
