"""Inference-free queries: sentence-transformers' vectors, without torch and as fast as BM25's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sparseret.kernels._native", reason="the native kernel is not built")
pytest.importorskip("tokenizers", reason="tokenizers is not installed")

from sparseret.documents import Document
from sparseret.encoders.inference_free import InferenceFreeEncoder, collection_idf
from sparseret.encoders.splade import SpladeEncoder
from sparseret.encoders.text_batches import load_tokenizer
from sparseret.encoders.token_table import TokenTable, find_table
from sparseret.errors import ConfigurationError
from sparseret.protocols import Encoder
from sparseret.registry import load_encoder
from sparseret.retriever import Retriever

TEXTS = ["heat transfer in hypersonic flow", "the lift of a wing in a slipstream", "flow"]
QUERIES = ["wing lift wing", "hypersonic  heat\tflow?", "", "[MASK] zzz", "flow"]


def router(folder: Path, out: Path, table: np.ndarray[Any, Any]) -> Any:
    """A model of sentence-transformers, and its folder written."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    made = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed"
    )
    from sentence_transformers.sparse_encoder import modules

    documents = modules.Transformer(str(folder), transformer_task="fill-mask")
    static = modules.SparseStaticEmbedding(documents.tokenizer, torch.tensor(table), frozen=True)
    pooling = modules.SpladePooling("max", activation_function="log1p_relu")
    both = modules.Router.for_query_document([static], [documents, pooling])
    model = made.SparseEncoder(modules=[both], device="cpu")
    model.save(str(out))
    return model


def both_sides(model: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return tuple(
        encode(texts, convert_to_tensor=True).to_dense().cpu().numpy()
        for encode, texts in ((model.encode_document, TEXTS), (model.encode_query, QUERIES))
    )


def table_of(folder: Path) -> np.ndarray[Any, Any]:
    size = load_tokenizer(folder).get_vocab_size()
    table = np.random.default_rng(3).uniform(0.1, 5, size).astype(np.float32)
    table[load_tokenizer(folder).token_to_id("flow")] = 0
    return table


def test_folders_go_both_ways(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    model = router(folder, tmp_path / "theirs", table_of(folder))
    documents, queries = both_sides(model)
    encoder = InferenceFreeEncoder(tmp_path / "theirs")
    assert isinstance(encoder, Encoder)
    made = encoder.encode_documents(TEXTS).toarray(), encoder.encode_queries(QUERIES)
    np.testing.assert_allclose(made[0], documents, atol=1e-4)
    np.testing.assert_array_equal(made[1].toarray(), queries)
    assert np.diff(made[1].indptr).tolist()[2] == 0
    assert np.diff(made[1].indptr).tolist()[4] == 0  # weights of 0 are left out
    encoder.save(tmp_path / "ours")
    import sentence_transformers

    theirs = both_sides(sentence_transformers.SparseEncoder(str(tmp_path / "ours"), device="cpu"))
    np.testing.assert_allclose(theirs[0], documents, atol=1e-6)
    np.testing.assert_array_equal(theirs[1], queries)
    again = InferenceFreeEncoder.load(tmp_path / "ours")
    np.testing.assert_array_equal(again.encode_queries(QUERIES).toarray(), queries)
    assert again.space == encoder.space
    with pytest.raises(ConfigurationError, match="use the encoder inference-free"):
        SpladeEncoder(tmp_path / "theirs")


def test_queries_need_no_model(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    weights = {"wing": 2.5, "lift": 1.25, "[UNK]": 0.5, "of": -1.0}
    (folder / "idf.json").write_text(json.dumps(weights), "utf-8")
    code = (
        "import sys\n"
        "blocked = ('torch', 'transformers', 'onnxruntime', 'sentence_transformers', 'onnx')\n"
        "sys.modules.update(dict.fromkeys(blocked))\n"  # importing them fails
        "from sparseret.encoders.inference_free import InferenceFreeEncoder\n"
        f"encoder = InferenceFreeEncoder({str(folder)!r})\n"
        "made = encoder.encode_queries(['the wing of a wing', '東京', ''])\n"
        "print(encoder.space.startswith('inference-free/'))\n"
        "print(made.indptr.tolist())\n"
        "print([encoder.term(column) for column in made.indices.tolist()], made.data.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "[0, 1, 2, 2]", "['wing', '[UNK]'] [2.5, 0.5]"]


@given(
    st.lists(st.text(st.sampled_from(" \t\n\x1c\xa0　aàé'.-[]MASK東\u0301ß#wingIİ"), max_size=30))
)
def test_words_give_the_tokens_of_texts(make_table: TokenTable, queries: list[str]) -> None:
    tokenizer = load_tokenizer(make_table.folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    made = make_table.encode(queries)
    assert make_table._by_word
    for row, query in enumerate(queries):
        columns = made.columns[made.indptr[row] : made.indptr[row + 1]].tolist()
        assert columns == sorted(set(tokenizer.encode(query, add_special_tokens=False).ids))


@pytest.fixture(scope="session")
def make_table(make_model: Callable[..., Path]) -> TokenTable:
    folder = make_model([*TEXTS, "àé'.-[]東ß# wing", "i i̇ mask"])
    size = load_tokenizer(folder).get_vocab_size()
    return TokenTable(folder, np.ones(size, np.float32))


def test_tokenizers_in_which_spaces_count(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS, tokens="bytes")
    size = load_tokenizer(folder).get_vocab_size()
    table = TokenTable(folder, np.ones(size, np.float32))
    assert not table._by_word
    tokenizer = load_tokenizer(folder)
    expected = sorted(set(tokenizer.encode("the wing", add_special_tokens=False).ids))
    assert table.encode(["", "the wing"]).columns.tolist() == expected


def test_long_queries_are_cut_and_counted(make_model: Callable[..., Path]) -> None:
    folder = make_model(TEXTS)  # takes 64 tokens
    table = TokenTable(folder, np.ones(load_tokenizer(folder).get_vocab_size(), np.float32))
    wing = load_tokenizer(folder).token_to_id("wing")
    flow = load_tokenizer(folder).token_to_id("flow")
    made = table.encode(["flow", "wing " * 64 + "flow", "wing " * 63 + "flow"])
    assert made.columns.tolist() == [flow, wing, *sorted((wing, flow))]
    assert table.truncated == 1


def test_a_table_beside_and_elsewhere(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    with pytest.raises(ConfigurationError, match=r"idf\.json"):
        InferenceFreeEncoder(folder)
    file = tmp_path / "weights.json"
    file.write_text(json.dumps(collection_idf(folder, TEXTS)), "utf-8")
    encoder = InferenceFreeEncoder(folder, queries=file, query_pruning={"top_k": 1})
    again = load_encoder("inference-free", json.loads(json.dumps(encoder.options)))
    assert again.space == encoder.space
    assert encoder.space != InferenceFreeEncoder(folder, queries=file).space
    query = encoder.encode_queries(["flow of hypersonic"])
    assert query.nnz == 1
    assert query.data[0] == pytest.approx(np.log1p((3 - 1 + 0.5) / 1.5))  # in one text of three
    assert encoder.term(int(query.indices[0])) != "flow"
    encoder.save(tmp_path / "saved")
    assert InferenceFreeEncoder.load(tmp_path / "saved").space == encoder.space
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"flow": 1.0}), "utf-8")
    assert InferenceFreeEncoder(folder, queries=other).space != encoder.space
    for wrong, match in (({"unheard": 1}, "no token 'unheard'"), ({"flow": "a"}, "to numbers"),
                         ([1], "to numbers"), ({"flow": float("nan")}, "finite")):  # fmt: skip
        other.write_text(json.dumps(wrong), "utf-8")
        with pytest.raises(ConfigurationError, match=match):
            find_table(other, folder)


def test_in_an_index(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model(TEXTS)
    (folder / "idf.json").write_text(json.dumps(collection_idf(folder, TEXTS)), "utf-8")
    options = {"folder": str(folder), "fields": {"title": 2, "text": 1}}
    with Retriever.create(tmp_path / "i", "inference-free", encoder_options=options) as retriever:
        retriever.add([Document(str(row), text, text[:4]) for row, text in enumerate(TEXTS)])
    with Retriever.open(tmp_path / "i") as retriever:
        assert "title×2" in retriever.description
        best = retriever.search("hypersonic wing")[0]
        explanation = retriever.explain("hypersonic wing", best.id)
        total = sum(term.contribution for term in explanation.terms)
        assert total == pytest.approx(best.score, rel=1e-5)
