"""Indexing takes no more memory for a larger corpus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import resource, sys
from sparseret.indexers import inverted_store, writer
from sparseret.ingest import ingest
from sparseret.retriever import Retriever

# What bounds memory by design, made small, so that growth beyond it shows early.
writer.MEMORY_BUDGET, inverted_store.MAX_SEGMENT_NNZ = 2**21, 2**17
with Retriever.create(sys.argv[1]) as retriever:
    retriever.index.writer.catalog._db.execute("PRAGMA cache_size = -2000")
    ingest(retriever, "-", commit_every=20_000)
    assert len(retriever) == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(path: Path, count: int) -> int:
    """Megabytes that indexing so many documents takes at the most; they are made on the fly."""
    filler = b"." * 300  # weight without words
    with subprocess.Popen(
        [sys.executable, "-c", MEASURE, str(path), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=path.parent,  # not the sources: they lack the native module
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for i in range(count):
            words = b"word%d word%d common" % (i % 997, i % 1009)
            process.stdin.write(b'{"_id": "%d", "text": "%s%s"}\n' % (i, words, filler))
        process.stdin.close()
        kilobytes = int(process.stdout.read())
    assert process.returncode == 0
    return kilobytes // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted otherwise elsewhere")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    small = peak_memory(tmp_path / "small", 20_000)
    large = peak_memory(tmp_path / "large", 60_000)
    # The input is 14 MB larger, and more than that as objects.
    assert large < small + 5, f"{small} MB for 20,000 documents, {large} MB for 60,000"
