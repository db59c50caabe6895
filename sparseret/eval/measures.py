"""Measures of effectiveness, computed by ir_measures (MacAvaney, Macdonald and Ounis, ECIR 2022).

The names are those of ir_measures, such as ``nDCG@10``, ``P(rel=2)@5``, ``Recall@100`` (or
``R@100``), ``MRR@10`` (``RR@10``) and ``MAP`` (``AP``); https://ir-measur.es lists them. A
judgement above 0 is relevant unless ``rel=`` says otherwise, and nDCG uses the judgements as gains,
as trec_eval and BEIR do.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparseret.errors import ConfigurationError, DatasetError
from sparseret.eval.datasets import Qrels
from sparseret.eval.runs import Run

__all__ = ["DEFAULT_MEASURES", "Scores", "measure", "required_depth"]

DEFAULT_MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP")

_MIN_DEPTH = 100
_UNCUT_DEPTH = 1000
_PATTERN = re.compile(r"(?P<name>\w+)(?:\((?P<options>[^()]*)\))?(?:@(?P<at>[0-9.]+))?")


@dataclass(frozen=True, slots=True)
class Scores:
    """Values of measures, under the names they were asked by.

    Attributes:
        mean: measure -> value over all queries. The mean, except for what ir_measures adds up, as
            it does with ``NumRet``.
        per_query: query id -> measure -> value, for every judged query.
    """

    mean: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]


def measure(run: Run, qrels: Qrels, measures: Sequence[str] = DEFAULT_MEASURES) -> Scores:
    """Rate a run against judgements.

    Every query of ``qrels`` counts, whether the run has it or not: a query without results is worth
    0, and so is one whose judgements are all 0, as in trec_eval (``-c``) and BEIR. Queries of the
    run that nobody judged are ignored.

    Ties are broken in the order of the run. trec_eval sorts by score and then by document id, which
    would replace the order that users see by an arbitrary one; so it is handed minus the rank
    instead of the score.

    Raises:
        ConfigurationError: an unknown measure, with the names that come near; one that ir_measures
            cannot compute here; no measure at all.
        DatasetError: no judgement at all.
    """
    if not measures:
        raise ConfigurationError(
            f"no measures were asked for; the usual are {', '.join(DEFAULT_MEASURES)}"
        )
    if not qrels:
        raise DatasetError("there are no judgements to rate the run against")
    parsed = {name: _parse(name) for name in measures}
    rank_run = {
        query: {document.id: -float(rank) for rank, document in enumerate(run[query])}
        for query in qrels
        if run.get(query)
    }
    ir_measures: Any = importlib.import_module("ir_measures")
    results = ir_measures.calc(list(dict.fromkeys(parsed.values())), _plain(qrels), rank_run)
    values = {(row.measure, row.query_id): float(row.value) for row in results.per_query}
    return Scores(
        mean={name: float(results.aggregated[parsed[name]]) for name in measures},
        per_query={
            query: {name: values[parsed[name], query] for name in measures} for query in qrels
        },
    )


def required_depth(measures: Sequence[str], k: int | None = None) -> int:
    """How many results to retrieve for a query, so that no measure is cut short.

    That is ``k`` where it is given. Otherwise at least 100, and as many as the deepest cutoff;
    1,000, the depth of TREC runs, where a measure such as MAP has no cutoff.

    Raises:
        ConfigurationError: an unknown measure, or a ``k`` below the cutoff of one.
    """
    cutoffs = {name: _cutoff(name) for name in measures}
    if k is None:
        return max([_MIN_DEPTH, *(depth or _UNCUT_DEPTH for depth in cutoffs.values())])
    for name, depth in cutoffs.items():
        if depth is not None and depth > k:
            raise ConfigurationError(f"{name} looks at {depth} results, but k is {k}; raise k")
    return k


def _cutoff(name: str) -> int | None:
    """Rank after which a measure looks no further; None where it looks at all results."""
    depth = _parse(name).params.get("cutoff")
    return None if depth is None else int(depth)


def _plain(qrels: Qrels) -> dict[str, dict[str, int]]:
    # ir_measures recognises its input by type: a Mapping that is no dict is taken for an iterable.
    return {query: dict(judged) for query, judged in qrels.items()}


def _parse(name: str) -> Any:
    """The measure of ir_measures that a name stands for."""
    ir_measures: Any = importlib.import_module("ir_measures")
    registry = ir_measures.measures.registry
    match = _PATTERN.fullmatch(name.strip())
    if match is None:
        raise ConfigurationError(
            f"{name!r} is no measure; write NAME, NAME@CUTOFF or NAME(option=value)@CUTOFF"
        )
    kind = registry.get(match["name"])
    if kind is None:
        raise ConfigurationError(f"unknown measure {name!r}{_suggestion(match['name'], registry)}")
    try:
        call: Any = ast.parse(f"f({match['options'] or ''})", mode="eval").body
        if call.args:
            raise ValueError("its options are written name=value")
        options = {option.arg: ast.literal_eval(option.value) for option in call.keywords}
        if match["at"] is not None:
            options[kind.AT_PARAM] = ast.literal_eval(match["at"])
        parsed = kind(**options)
        supported = ir_measures.DefaultPipeline.supports(parsed)
    except (AssertionError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigurationError(f"measure {name!r}: {error}") from error
    if not supported:
        raise ConfigurationError(
            f"measure {name!r} needs a provider of ir_measures that is not installed"
        )
    return parsed


def _suggestion(word: str, known: Mapping[str, object]) -> str:
    by_lower = {name.lower(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)
    if not near:
        return f"; known: {', '.join(sorted(known))}"
    return f"; did you mean {' or '.join(by_lower[name] for name in near)}?"
