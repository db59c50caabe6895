"""Instructions of a query, counted by callgrind in a process of its own.

That process runs :func:`main`. Callgrind counts the same on any machine, but for the instruction
set: valgrind tells programs that the processor has AVX2 and no AVX-512, so kernels that choose at
run time take their variant for AVX2.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scipy import sparse

from benchmarks.process import FailedError, own_module
from sparseret.indexers.inverted import InvertedIndex
from sparseret.kernels import Effort

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["count_instructions", "main", "missing_valgrind", "read_total"]


def missing_valgrind() -> str | None:
    """Why nothing can be counted; None where it can."""
    return None if shutil.which("valgrind") else "valgrind is not installed"


def count_instructions(
    index: Path, queries: csr_array, k: int, efforts: Sequence[Effort | None]
) -> list[float]:
    """Mean instructions of a query in a batch on one thread.

    A process that answers one query is counted, and for each effort one that answers them all
    besides: the difference is theirs.

    Args:
        index: its folder.
        queries: shape (n, n_columns).
        k: answers a query.
        efforts: None for an exact search.

    Returns:
        parallel to ``efforts``.

    Raises:
        FailedError: valgrind or the process under it ended with an error.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "queries.npz")
        sparse.save_npz(file, queries, compressed=False)
        command = [str(index), str(file), str(k)]
        before = _counted(command, Path(scratch))
        return [
            (_counted([*command, *_arguments(effort)], Path(scratch)) - before) / queries.shape[0]
            for effort in efforts
        ]


def main(arguments: Sequence[str]) -> None:
    """Answer the first query exactly, and then all of them if an effort is given."""
    folder, file, size, *effort = arguments
    queries = sparse.csr_array(sparse.load_npz(file))
    index = InvertedIndex.open(folder)
    k = int(size)
    index.snapshot.search(queries[:1], k)
    if effort:
        cut, candidates = float(effort[0]), int(effort[1])
        chosen = Effort(cut, candidates) if candidates else None
        index.snapshot.search(queries, k, effort=chosen)
    index.close()


def _arguments(effort: Effort | None) -> list[str]:
    return ["0", "0"] if effort is None else [str(effort.cut), str(effort.candidates)]


def _counted(arguments: Sequence[str], scratch: Path) -> int:
    counts = scratch / "counts"
    program = own_module("benchmarks.limits.instructions")
    ended = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", *program, *arguments],
        cwd=scratch, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode:
        raise FailedError(f"{' '.join(ended.args)}: {ended.stderr.strip()[-500:]}")
    return read_total(counts.read_text("ascii", errors="replace"))


def read_total(counts: str) -> int:
    """Instructions in all, of a file that callgrind wrote.

    Raises:
        FailedError: it does not say.
    """
    for line in reversed(counts.splitlines()):
        name, _, rest = line.partition(":")
        if name in ("totals", "summary"):
            return int(rest.split()[0])
    raise FailedError("callgrind wrote no total")
