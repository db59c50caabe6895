"""PromptReps: ask a language model for one word, and keep sparse and dense vectors of its answer.

The model has random weights, so scores mean nothing; put the folder of an instruction-tuned one in
its place. Needs the extra "neural".
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

DOCUMENTS = [
    "The slipstream of a propeller changes the lift of a wing.",
    "Heat is conducted in composite slabs of several layers.",
    "A flat plate flutters at supersonic speed.",
]
QUERIES = ["lift of a wing", "heat conduction"]


def unit_range(scores: np.ndarray) -> np.ndarray:
    """Scores of each query moved to 0..1, as the paper does before it adds both kinds."""
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    return (scores - low) / np.maximum(high - low, 1e-9)


def main() -> None:
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        print("skipped: torch and transformers are needed (pip install 'sparseret[neural]')")
        return
    from sparseret.encoders.promptreps import PromptRepsEncoder
    from sparseret.train.scratch import new_causal_lm

    with tempfile.TemporaryDirectory() as temporary:
        if len(sys.argv) > 1:
            folder = Path(sys.argv[1])
        else:
            folder = new_causal_lm(temporary, DOCUMENTS, vocabulary=400, hidden=64, layers=1)
        encoder = PromptRepsEncoder(folder)
        documents = encoder.represent_documents(DOCUMENTS)
        queries = encoder.represent_queries(QUERIES)
    sparse = (queries.sparse @ documents.sparse.T).toarray()
    dense = queries.dense @ documents.dense.T
    hybrid = 0.5 * unit_range(sparse) + 0.5 * unit_range(dense)
    for name, scores in (("sparse", sparse), ("dense", dense), ("hybrid", hybrid)):
        for query, row in zip(QUERIES, scores, strict=True):
            print(f"{name:7} {query:16} " + "  ".join(f"{score:6.3f}" for score in row))


if __name__ == "__main__":
    main()
