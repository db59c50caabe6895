"""``sparseret tune --fusion``: choose how the rankings of several legs become one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sparseret.eval.datasets import Dataset
    from sparseret.eval.runs import Run
    from sparseret.indexers.fusion import Fusion

__all__ = ["report_tuned_fusion", "tune_fusion_of_index", "tune_fusion_of_runs"]


def tune_fusion_of_runs(
    source: str,
    runs: Sequence[str] | None,
    lower_bounds: Sequence[str] | None,
    measure: str,
    split: str,
    n_folds: int,
    json_file: Path | None,
) -> None:
    """Tune by run files.

    Args:
        source: dataset with judgements, as :func:`sparseret.eval.datasets.load_dataset` takes it.
        runs: ``NAME=RUNFILE``, one a leg.
        lower_bounds: ``NAME=SCORE``.
        measure: what to tune for.
        split: which judgements.
        n_folds: parts of the queries.
        json_file: where to write the report, if anywhere.
    """
    files = _named(runs, "--run", "bm25=bm25.run")
    if len(files) < 2:
        raise typer.BadParameter("--fusion needs --run NAME=RUNFILE twice or more, one a leg")
    bounds = {
        name: _number(text, f"--lower-bound {name}={text}")
        for name, text in _named(lower_bounds, "--lower-bound", "bm25=0").items()
    }

    from sparseret.eval.datasets import load_dataset
    from sparseret.eval.measures import required_depth
    from sparseret.eval.runs import read_run

    required_depth([measure])  # an unknown measure shows before files are read
    dataset = load_dataset(source, split)
    report_tuned_fusion(
        {name: read_run(file) for name, file in files.items()},
        dataset,
        lower_bounds=bounds,
        measure=measure,
        n_folds=n_folds,
        json_file=json_file,
    )


def tune_fusion_of_index(
    index: Path,
    source: str,
    depth: int,
    measure: str,
    split: str,
    n_folds: int,
    json_file: Path | None,
    *,
    dry_run: bool,
) -> None:
    """Tune the fusion of an index, and record what was chosen in it.

    Args:
        index: of several legs, which should hold the documents of the dataset.
        source: as of :func:`tune_fusion_of_runs`, like the last four.
        depth: results of each leg that are fused.
        measure: what to tune for.
        split: which judgements.
        n_folds: parts of the queries.
        json_file: where to write the report, if anywhere.
        dry_run: whether the index is left as it is.
    """
    from sparseret.errors import ConfigurationError
    from sparseret.eval.datasets import load_dataset
    from sparseret.eval.measures import required_depth
    from sparseret.eval.runs import run_from_hits
    from sparseret.retriever import Retriever

    required_depth([measure])
    dataset = load_dataset(source, split)
    texts, ids = [q.text for q in dataset.queries], [q.id for q in dataset.queries]
    with Retriever.open(index) as retriever:
        if len(retriever.legs) < 2:
            raise ConfigurationError(f"{index} has one leg, and nothing to fuse")
        runs = {
            leg: run_from_hits(ids, retriever.retrieve(texts, depth, legs=[leg]))
            for leg in retriever.legs
        }
        fusion = report_tuned_fusion(
            runs, dataset, lower_bounds=retriever.lower_bounds, measure=measure, n_folds=n_folds,
            json_file=json_file,
        )  # fmt: skip
        if not dry_run:
            retriever.set_fusion(fusion)
            print(f"{index} fuses so from now on: {fusion.description}")


def report_tuned_fusion(
    runs: Mapping[str, Run],
    dataset: Dataset,
    *,
    lower_bounds: Mapping[str, float],
    measure: str,
    n_folds: int,
    json_file: Path | None,
) -> Fusion:
    """Tune, print what came out, and write it; returns the fusion to use.

    Args:
        runs: name of a leg -> what it retrieved.
        dataset: whose judgements count.
        lower_bounds: name of a leg -> the least score it could give.
        measure: what to tune for.
        n_folds: parts of the queries.
        json_file: where to write the report, if anywhere.
    """
    from sparseret.cli.console import make_console
    from sparseret.eval.files import write_text
    from sparseret.eval.report import print_tuned_fusion
    from sparseret.eval.tune_fusion import tune_fusion
    from sparseret.progress import progress_of_steps

    with progress_of_steps("Trying fusions", show=sys.stderr.isatty()) as step:
        tuned = tune_fusion(
            runs,
            dataset.qrels,
            measure_name=measure,
            n_folds=n_folds,
            lower_bounds=lower_bounds,
            progress=step,
        )
    print_tuned_fusion(tuned, f"{dataset.name} ({dataset.split})", make_console())
    if json_file is not None:
        report = {"dataset": dataset.name, "split": dataset.split, **tuned.to_json()}
        with write_text(json_file) as file:
            json.dump(report, file, indent=2, ensure_ascii=False)
            file.write("\n")
    return tuned.fusion


def _named(texts: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    """``["a=b"]`` as ``{"a": "b"}``; no name twice."""
    named: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise typer.BadParameter(f"{option} {text!r}: expected NAME=VALUE, such as {example}")
        if name in named:
            raise typer.BadParameter(f"{option}: {name!r} occurs twice")
        named[name] = value
    return named


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{option}: not a number") from None
