"""Train uniCOIL on the titles of a collection, and look at the weights it gives to a text.

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
        settings = TrainingSettings(steps=40, learning_rate=2e-3)
        steps = train_pairs(model, list(title_pairs(documents)), settings)
        print(f"loss {steps[0].loss:.2f} in the first step, {steps[-1].loss:.2f} in the last")
        model.save(folder / "model")

        # Weights as whole numbers of 8 bits, as engines like Anserini store them.
        encoder = UniCoilEncoder(folder / "model", impacts=8, max_length=128)
        vector = encoder.encode_queries([QUERY])
        weights = {encoder.term(c): v for c, v in zip(vector.indices, vector.data, strict=True)}
        for token, weight in sorted(weights.items(), key=lambda entry: -entry[1])[:6]:
            print(f"{weight:5.0f}  {token}")

        with Retriever.create(folder / "index", encoder) as retriever:
            retriever.add(documents)
            retriever.commit()
            for hit in retriever.search(QUERY, k=3):
                print(f"{hit.score:7.0f}  {hit.id:>4}  {hit.title}")


if __name__ == "__main__":
    main()
