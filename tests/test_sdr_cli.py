"""``sparseret sdr plan``: its figures are the theory's, and it says where there is no threshold."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from sparseret.encoders import sdr_theory


def rows(output: str) -> dict[int, tuple[float, float]]:
    """Threshold -> chances of a false match and of a miss."""
    found = re.findall(r"^(?:->)? *(\d+) +(\S+) +(\S+)$", output, re.M)
    return {int(threshold): (float(false), float(miss)) for threshold, false, miss in found}


def test_figures_are_those_of_the_theory(run: Callable[..., Any]) -> None:
    ran = run("sdr", "plan", "--cells", 500, "--active", 20, "--synapses", 15, "--patterns", 3,
              "--noise", 0.4, "--false-match", 1e-5)  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    known = {"synapses": 15, "patterns": 3}
    chosen = sdr_theory.choose_threshold(500, 20, target=1e-5, **known)
    assert re.search(rf"^-> +{chosen} ", ran.out, re.M)
    table = rows(ran.out)
    assert chosen in table
    for threshold, (false, missed) in table.items():
        want = sdr_theory.false_match(500, 20, threshold, **known)
        assert false == pytest.approx(want, rel=0.01)
        want = sdr_theory.miss(500, 20, threshold, noise=0.4, **known)
        assert missed == pytest.approx(want, rel=0.01, abs=1e-12)
    held = sdr_theory.capacity(500, 20, chosen, target=1e-5, synapses=15)
    assert f"up to {held} patterns" in ran.out


def test_a_threshold_may_be_given(run: Callable[..., Any]) -> None:
    ran = run("sdr", "plan", "--threshold", 2)
    assert ran.status == 0
    assert sorted(rows(ran.out)) == [1, 2, 3, 4, 5, 6]
    assert "up to 0 patterns" in ran.out
    assert max(rows(run("sdr", "plan", "--threshold", 40).out)) == 40


@pytest.mark.parametrize(("options", "message"), [
    (["--cells", 30, "--active", 5], "no threshold keeps false matches at 1e-09"),
    (["--active", 4000], "4000 synapses of 4000 active of 2048 cells"),
    (["--threshold", 41], "threshold 41: 1 to 40"),
    (["--false-match", 0], "between 0 and 1"),
    (["--cells", 60, "--noise", 1], "less noise"),
])  # fmt: skip
def test_what_cannot_be_is_said(
    run: Callable[..., Any], options: list[object], message: str
) -> None:
    ran = run("sdr", "plan", *options)
    assert ran.status == 1
    assert message in ran.err
    assert ran.out == ""


def test_help_is_shown_without_a_command(run: Callable[..., Any]) -> None:
    assert "plan" in run("sdr", "--help").out
