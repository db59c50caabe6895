"""Train uniCOIL on the titles of a collection, search with it, and see which tokens count.

The model starts from nothing and learns for some seconds: what it shows is how, not how well.
Needs the extra "neural".
"""

import importlib.util
import tempfile
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.eval.datasets import load_dataset

QUERY = "what is the lift of a wing in the slipstream of a propeller"


def main() -> None:
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        print("skipped: torch and transformers are needed (pip install 'sparseret[neural]')")
        return
    from sparseret.encoders.unicoil import UniCoilEncoder, UniCoilModel
    from sparseret.train.loop import TrainingSettings, train_pairs
    from sparseret.train.pairs import title_pairs
    from sparseret.train.scratch import new_masked_lm

    documents = [record.document for record in read_documents(load_dataset("cranfield").corpus)]
    documents = documents[:300]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = [document.text for document in documents]
        body = new_masked_lm(folder / "body", texts, vocabulary=2000, hidden=32, layers=1)
        model = UniCoilModel.start(body)
        model.max_length = 64
        # FLOPS presses hardest on what most texts share, so "the" and "of" come to weigh less.
        settings = TrainingSettings(
            steps=60, learning_rate=2e-3, flops_queries=0.1, flops_documents=0.1
        )
        steps = train_pairs(model, list(title_pairs(documents)), settings)
        print(f"loss {steps[0].loss:.2f} in the first step, {steps[-1].loss:.2f} in the last")
        model.save(folder / "model")

        # Weights as whole numbers of 8 bits, as engines like Anserini store them.
        encoder = UniCoilEncoder(folder / "model", impacts=8, max_length=128)
        with Retriever.create(folder / "index", encoder) as retriever:
            retriever.add(documents)
            retriever.commit()
            hits = retriever.search(QUERY, k=3)
            for hit in hits:
                print(f"{hit.score:7.0f}  {hit.id:>4}  {hit.title}")
            for term in retriever.explain(QUERY, hits[0].id).terms[:6]:
                print(f"  {term.query_weight:.0f} x {term.document_weight:.0f}  {term.term}")


if __name__ == "__main__":
    main()
