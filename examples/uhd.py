"""UHD codes: which of thousands of dimensions win for any token, and nothing else.

The model is untrained: its codes are a kind of hashing, by which a title finds the text that begins
with it. Needs the extra "neural".
"""

import importlib.util
import tempfile
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.eval.datasets import load_dataset


def main() -> None:
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        print("skipped: torch and transformers are needed (pip install 'sparseret[neural]')")
        return
    from sparseret.encoders.uhd import UhdEncoder, UhdModel
    from sparseret.train.scratch import new_masked_lm

    documents = [record.document for record in read_documents(load_dataset("cranfield").corpus)]
    documents = documents[:100]
    query = documents[4].title
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = [document.text for document in documents]
        body = new_masked_lm(folder / "body", texts, vocabulary=2000, hidden=64, layers=2)
        UhdModel.start(body, layers=(1, 2), width=20_000, winners=5).save(folder / "model")
        encoder = UhdEncoder(folder / "model", max_length=64)
        code = encoder.encode_queries([query])
        print(f"{encoder.dim} columns in {len(encoder.layers)} buckets, {code.nnz} of the query")
        with Retriever.create(folder / "index", encoder) as retriever:
            retriever.add(documents)
            retriever.commit()
            best = retriever.search(query, k=1)[0]
            print(f"document {best.id} shares {best.score:.0f} of them")
            shared = retriever.explain(query, best.id).terms
            print("such as " + ", ".join(term.term for term in shared[:3]))


if __name__ == "__main__":
    main()
