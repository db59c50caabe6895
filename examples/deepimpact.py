"""DeepImpact with document expansion: whole words, one impact each, queries without a model.

The model is untrained, so impacts mean nothing; what shows is which words an index holds, and that
words of the expansion are found. Needs the extra "neural".
"""

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sparseret import Document, Retriever

DOCUMENTS = [
    Document("1", "The slipstream of a propeller changes the lift of a wing."),
    Document("2", "Heat is conducted in composite slabs of several layers."),
    Document("3", "A flat plate flutters at supersonic speed."),
]
ASKED = {"lift": "how does an airscrew change lift", "heat": "thermal conductivity of walls"}


def expand(texts: Sequence[str]) -> list[str]:
    """Questions that a text answers: in earnest a generator such as doc2query makes them."""
    return [" ".join(q for word, q in ASKED.items() if word in text.lower()) for text in texts]


def main() -> None:
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        print("skipped: torch and transformers are needed (pip install 'sparseret[neural]')")
        return
    from sparseret.encoders.deepimpact import DeepImpactEncoder, DeepImpactModel
    from sparseret.train.scratch import new_masked_lm

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = [document.text for document in DOCUMENTS]
        body = new_masked_lm(folder / "body", texts, vocabulary=200, hidden=32, layers=1)
        DeepImpactModel.start(body).save(folder / "model")
        encoder = DeepImpactEncoder(folder / "model", expand=expand, expansion="questions")
        with Retriever.create(folder / "index", encoder) as retriever:
            retriever.add(DOCUMENTS)

        # The index knows its vocabulary: searching needs neither the hook nor torch.
        with Retriever.open(folder / "index") as retriever:
            for query in ("airscrew", "supersonic plate", "conductivity"):
                found = ", ".join(hit.id for hit in retriever.search(query)) or "nothing"
                print(f"{query}: {found}")


if __name__ == "__main__":
    main()
