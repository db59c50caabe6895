"""``python -m benchmarks COMMAND``: each command takes ``--help``."""

from __future__ import annotations

import importlib
import os
import sys

COMMANDS = {
    "run": ("benchmarks.vectors.run", "exact and approximate search of sparse vectors, with peers"),
    "recall": ("benchmarks.recall", "recall asked for, and found on other queries"),
    "ranges": (
        "benchmarks.ranges.run",
        "search among consecutive documents, and filters afterwards",
    ),
    "windows": (
        "benchmarks.windows.run",
        "nearest of consecutive dense vectors at equal recall, with faiss",
    ),
    "two-stage": (
        "benchmarks.two_stage.run",
        "dense search within a budget of memory: light codes, with faiss",
    ),
    "scale": ("benchmarks.scale.run", "building and searching as the corpus grows"),
    "limits": ("benchmarks.limits.run", "how far a query is from what the machine can do"),
    "encoding": ("benchmarks.encoding.run", "texts to SPLADE vectors: speed and memory"),
    "lexical": ("benchmarks.lexical.run", "BM25 from texts and from counts, with peers"),
    "startup": ("benchmarks.startup", "opening an index and answering the first query"),
    "memory": ("benchmarks.memory", "peak memory of indexing as the corpus grows"),
    "presets": ("benchmarks.presets", "bytes and loss of rounded and pruned vectors"),
    "top-k": ("benchmarks.top_k", "the largest values of wide rows, and decoding, with torch"),
    "dictionaries": ("benchmarks.dictionaries", "what codes of dictionaries and codebooks find"),
    "codes": ("benchmarks.codes", "codes of dense vectors, beside vectors of as many bytes"),
    "hybrid": ("benchmarks.hybrid", "fusions of BM25, SPLADE and dense vectors, tuned and not"),
    "hybrid-speed": ("benchmarks.hybrid_speed", "what several legs cost a query"),
    "concepts": ("benchmarks.concepts", "codes of named concepts, as they are and trained"),
    "docids": ("benchmarks.docids", "docid models, trained and not"),
    "service": ("benchmarks.service", "the HTTP service: overhead, load, and a soak with a kill"),
    "sdr": ("benchmarks.sdr", "overlap search of binary codes, with faiss"),
    "head": ("benchmarks.vocabulary_head", "the vocabulary product of SPLADE"),
    "projection": ("benchmarks.projection", "random projection, hashing, and embedding of a graph"),
    "targets": ("benchmarks.targets", "results held against what is promised"),
    "report": ("benchmarks.report", "docs/benchmarks.md, made of benchmarks/results"),
}
"""Command -> module with ``main(arguments)``, and what it measures or makes."""

_ONE_THREAD = (
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
_COMPARED_ON_ONE_THREAD = ("run", "ranges", "limits", "encoding", "head", "projection", "sdr",
                           "top-k", "two-stage", "windows")  # fmt: skip


def main() -> None:
    """Run the command named first."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        lines = [f"  {name:<14}{what}" for name, (_, what) in COMMANDS.items()]
        print("usage: python -m benchmarks COMMAND [options]", "", *lines, sep="\n")
        raise SystemExit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    if sys.argv[1] in _COMPARED_ON_ONE_THREAD:
        # Engines and BLAS read these when they are imported.
        os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    importlib.import_module(COMMANDS[sys.argv[1]][0]).main(sys.argv[2:])


if __name__ == "__main__":
    main()
