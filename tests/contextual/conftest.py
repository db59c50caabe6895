"""Small untrained models, and real text to train and judge them on: a part of Cranfield."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sparseret import read_documents
from sparseret.documents import Document
from sparseret.eval.datasets import Dataset, load_dataset
from sparseret.eval.evaluate import evaluate
from sparseret.eval.measures import Scores
from sparseret.protocols import Encoder
from sparseret.retriever import Retriever
from sparseret.train.pairs import Pair, judged_pairs, title_pairs

N_DOCUMENTS = 500
MEASURE = "nDCG@10"


@dataclass(frozen=True)
class Material:
    """Documents, pairs to train on, and other queries to judge by."""

    documents: list[Document]
    pairs: list[Pair]
    held_out: Dataset

    def rate(self, encoder: Encoder, path: Path) -> Scores:
        """nDCG@10 of the held-out queries, through an index."""
        with Retriever.create(path, encoder) as retriever:
            retriever.add(self.documents)
            retriever.commit()
            return evaluate(retriever, self.held_out, measures=(MEASURE,)).scores


@pytest.fixture(scope="session")
def material() -> Material:
    dataset = load_dataset("cranfield")
    records = read_documents(dataset.corpus)
    documents = [record.document for record in records][:N_DOCUMENTS]
    texts = {document.id: document.content for document in documents}
    qrels = {
        query: {document: grade for document, grade in grades.items() if document in texts}
        for query, grades in dataset.qrels.items()
    }
    known = [q for q in dataset.queries if any(grade > 0 for grade in qrels[q.id].values())]
    learnt, held = known[::2], known[1::2]
    pairs = judged_pairs({q.id: q.text for q in learnt}, texts, {q.id: qrels[q.id] for q in learnt})
    asked = {q.text for q in held}
    all_pairs = [*pairs, *title_pairs(documents)]
    return Material(
        documents=documents,
        pairs=[pair for pair in all_pairs if pair.query not in asked],
        held_out=replace(dataset, queries=tuple(held), qrels={q.id: qrels[q.id] for q in held}),
    )


@pytest.fixture(scope="session")
def torch_needed() -> None:
    """Skips where the extra "neural" is not installed; one thread, as the tests are small."""
    torch = pytest.importorskip("torch", reason="torch is not installed (sparseret[neural])")
    pytest.importorskip("transformers", reason="transformers is not installed (sparseret[neural])")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def masked_lm(
    torch_needed: None, material: Material, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An untrained BERT of 2 layers, and a WordPiece tokenizer of the documents."""
    from sparseret.train.scratch import new_masked_lm

    texts = [document.content for document in material.documents]
    folder = tmp_path_factory.mktemp("masked-lm")
    return new_masked_lm(folder, texts, vocabulary=2000, hidden=32, layers=2)


@pytest.fixture(scope="session")
def causal_lm(
    torch_needed: None, material: Material, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An untrained Llama of 2 layers, and a byte-level tokenizer of the documents."""
    from sparseret.train.scratch import new_causal_lm

    texts = [document.content for document in material.documents]
    folder = tmp_path_factory.mktemp("causal-lm")
    return new_causal_lm(folder, texts, vocabulary=2000, hidden=32, layers=2)


@pytest.fixture(scope="session")
def models(
    masked_lm: Path, causal_lm: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A folder of an untrained model for each kind of encoder."""
    from sparseret.encoders.deepimpact import DeepImpactModel
    from sparseret.encoders.uhd import UhdModel
    from sparseret.encoders.unicoil import UniCoilModel

    root = tmp_path_factory.mktemp("models")
    UniCoilModel.start(masked_lm).save(root / "unicoil")
    DeepImpactModel.start(masked_lm).save(root / "deepimpact")
    UhdModel.start(masked_lm, layers=(1, 2), width=300, winners=7).save(root / "uhd")
    made = {kind: root / kind for kind in ("unicoil", "deepimpact", "uhd")}
    return {**made, "causal-lm": causal_lm, "promptreps": causal_lm}
