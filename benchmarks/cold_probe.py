"""One process's life, timed from inside: ``python -m benchmarks.cold_probe ENGINE INDEX QUERY``.

Imports nothing heavy of its own. Prints a JSON list of (stage, seconds).
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise

__all__ = ["main"]

_STAGES = ("import", "open", "first query", "second query")


def main() -> None:
    """Import, open, query, query again."""
    engine, index, query = sys.argv[1:]
    times = [time.perf_counter()]
    if engine == "sparseret":
        from sparseret.retriever import Retriever

        times.append(time.perf_counter())
        retriever = Retriever.open(index)
        times.append(time.perf_counter())
        for _ in range(2):
            retriever.search(query, k=10)
            times.append(time.perf_counter())
    else:
        import bm25s
        import Stemmer

        stemmer = Stemmer.Stemmer("english")
        times.append(time.perf_counter())
        model = bm25s.BM25.load(index, mmap=True)
        model.backend = engine.removeprefix("bm25s-")
        times.append(time.perf_counter())
        for _ in range(2):
            tokens = bm25s.tokenize([query], stemmer=stemmer, return_ids=False, show_progress=False)
            model.retrieve(tokens, k=10, show_progress=False)
            times.append(time.perf_counter())
    seconds = [after - before for before, after in pairwise(times)]
    print(json.dumps(list(zip(_STAGES, seconds, strict=True))))


if __name__ == "__main__":
    main()
