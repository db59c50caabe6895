"""Progress bars: on standard error, and only where asked for."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from sparseret.progress import progress_bar, progress_of_steps


def test_without_show_nothing_is_printed_or_imported() -> None:
    code = (
        "import sys\n"
        "from sparseret.progress import progress_bar\n"
        "with progress_bar('Working', 3, show=False) as advance:\n"
        "    advance(2)\n"
        "assert 'rich' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tempfile.gettempdir()
    )
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize(
    ("total", "unit", "expected"),
    [(3, "", "3/3"), (None, "", "3/?"), (2_000_000, "bytes", "2.0 MB")],
)
def test_what_is_shown(
    capsys: pytest.CaptureFixture[str], total: int | None, unit: str, expected: str
) -> None:
    with progress_bar("Working", total, show=True, unit=unit) as advance:
        advance(1)
        advance((total or 3) - 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Working" in err
    assert expected in err


def test_errors_pass_through(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), progress_bar("W", 1, show=True):
        raise RuntimeError("on purpose")
    assert capsys.readouterr().out == ""


def test_steps_of_a_total_that_shows_at_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of_steps("Working", show=True):
        pass
    assert capsys.readouterr() == ("", "")
    with progress_of_steps("Working", show=True) as step:
        for done in (0, 3, 4):
            step(done, 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err
    with progress_of_steps("Working", show=False) as step:
        step(1, 2)
    assert capsys.readouterr() == ("", "")
