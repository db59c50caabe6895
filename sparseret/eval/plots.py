"""Plots of an evaluation: which queries go well, and which gain or lose against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparseret.errors import ConfigurationError, MissingExtraError, StorageError
from sparseret.eval.evaluate import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_plot", "plot", "plot_densities"]

_FORMATS = (".png", ".svg", ".pdf")
_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#555555"  # told apart by colour-blind readers, too


def check_plot(path: str | Path) -> None:
    """Say now, before hours of work, whether :func:`plot` could draw to such a file.

    Raises:
        ConfigurationError: a file name with another suffix than .png, .svg or .pdf.
        MissingExtraError: matplotlib is not installed.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise ConfigurationError(f"{path}: a plot's name must end in {', '.join(_FORMATS)}")
    try:
        import matplotlib.figure  # noqa: F401 - to see whether it is there
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "plotting") from error


def plot(path: str | Path, report: Report, measure: str, baseline: Report | None = None) -> None:
    """Draw the values of a measure for each query, best first, to a PNG, SVG or PDF file.

    With a baseline, its curve is drawn as well, and a second panel shows the differences of each
    query, sorted: gains above the line, losses below.

    Raises:
        ConfigurationError: a file name with another suffix, or a measure that was not computed.
        MissingExtraError: matplotlib is not installed.
        StorageError: the file system refused.
    """
    path = Path(path)
    check_plot(path)
    if measure not in report.scores.mean or (baseline and measure not in baseline.scores.mean):
        raise ConfigurationError(f"{measure} was not computed, so it cannot be plotted")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A Figure of its own, not pyplot's: no global state, and no display is looked for.
    figure = Figure(figsize=(7.0 if baseline is None else 12.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 if baseline is None else 2, squeeze=False)[0]
    figure.suptitle(f"{report.dataset} ({report.split}), {len(report.scores.per_query)} queries")
    _values(panels[0], report, baseline, measure)
    if baseline is not None:
        _differences(panels[1], report, baseline, measure)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def plot_densities(
    path: str | Path, densities: Sequence[NDArray[np.float64]], names: Sequence[str]
) -> None:
    """Draw how often latents are active, as a histogram on a logarithmic axis.

    Args:
        path: a PNG, SVG or PDF file.
        densities: for each codec, the share of vectors that activate each latent, 0 to 1.
        names: of the codecs.

    Raises:
        ConfigurationError: a file name with another suffix.
        MissingExtraError: matplotlib is not installed.
        StorageError: the file system refused.
    """
    path = Path(path)
    check_plot(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    least = min((float(d[d > 0].min()) for d in densities if (d > 0).any()), default=1e-6)
    bins = np.geomspace(least, 1, 41)
    for found, name in zip(densities, names, strict=True):
        label = f"{name}: {(found == 0).mean():.1%} dead"
        panel.hist(found[found > 0], bins.tolist(), histtype="step", label=label)
    panel.set(xscale="log", xlabel="share of vectors that activate a latent", ylabel="latents")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def _values(panel: Axes, report: Report, baseline: Report | None, measure: str) -> None:
    drawn = [(report, "", _BLUE, "-")]
    if baseline is not None:
        drawn.append((baseline, "baseline ", _ORANGE, "--"))
    for shown, role, colour, style in drawn:
        values = sorted((row[measure] for row in shown.scores.per_query.values()), reverse=True)
        ranks = np.arange(1, len(values) + 1)
        mean = shown.scores.mean[measure]
        name = shown.retriever.replace("$", r"\$")  # not a formula
        label = f"{role}{name}: mean {mean:.4f}"
        panel.step(ranks, values, where="mid", color=colour, linestyle=style, label=label)
        panel.axhline(mean, color=colour, linestyle=":", linewidth=1)
        if baseline is None:
            panel.fill_between(ranks, values, step="mid", color=colour, alpha=0.2, linewidth=0)
    panel.set(xlabel="queries, best first", ylabel=measure, xlim=(0.5, len(ranks) + 0.5))
    panel.set_ylim(bottom=0)
    # Above the panel: inside, some dataset's curve would always run through it.
    panel.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def _differences(panel: Axes, report: Report, baseline: Report, measure: str) -> None:
    rows, others = report.scores.per_query, baseline.scores.per_query
    values = np.sort([row[measure] - others[query][measure] for query, row in rows.items()])[::-1]
    ranks = np.arange(1, len(values) + 1)
    won, lost = int((values > 0).sum()), int((values < 0).sum())
    mean = float(values.mean())
    panel.bar(ranks, values, width=1.0, color=np.where(values > 0, _BLUE, _ORANGE), linewidth=0)
    panel.axhline(0, color=_GREY, linewidth=0.8)
    panel.axhline(mean, color=_GREY, linestyle=":", linewidth=1)
    panel.set(
        xlabel="queries, largest gain first",
        ylabel=f"gain in {measure} over the baseline",
        xlim=(0.5, len(values) + 0.5),
    )
    panel.set_title(
        f"{won} better, {len(values) - won - lost} same, {lost} worse; mean {mean:+.4f}",
        loc="left",
        fontsize="medium",
    )
