"""Every example runs on its own, and prints what it promises."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from forks import Forks

Run = Callable[..., str]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
TESTED = {
    "beir_evaluation.py",
    "causal_lm.py",
    "codes.py",
    "codebooks.py",
    "concepts.py",
    "deepimpact.py",
    "evaluate.py",
    "exchange.py",
    "expansion_hashing.py",
    "explain.py",
    "fastrp.py",
    "feedback.py",
    "filter.py",
    "haystack_pipeline.py",
    "hybrid.py",
    "index_a_folder.py",
    "inference_free.py",
    "langchain_store.py",
    "llama_index_store.py",
    "losse.py",
    "mteb_task.py",
    "mcp_server.py",
    "own_vectors.py",
    "promptreps.py",
    "pyterrier_pipeline.py",
    "rag.py",
    "rag_prompt.py",
    "random_projection.py",
    "rerank.py",
    "sdr_memory.py",
    "sdr_search.py",
    "sentence_transformers_evaluator.py",
    "splade.py",
    "uhd.py",
    "unicoil.py",
}


NEURAL = (
    "torch",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
)


@pytest.fixture
def run(forks: Forks, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """What an example prints; its errors fail the test."""
    neural = {"neural", "splade_tiny"} & {*request.fixturenames}

    def run(name: str, *arguments: str | Path) -> str:
        done = forks.run(
            [EXAMPLES / name, *arguments],
            tmp_path,
            imports=["numpy", "scipy.sparse", *(NEURAL if neural else ())],
            seconds=120,
        )
        assert done.status == 0, done.err
        assert done.err == ""
        return done.out

    return run


def test_every_example_is_tested_and_says_what_it_shows() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == TESTED
    for path in EXAMPLES.glob("*.py"):
        assert path.read_text("utf-8").startswith('"""')


@pytest.mark.usefixtures("neural")
def test_codes(run: Run) -> None:
    first, *hits = run("codes.py").splitlines()
    assert re.fullmatch(r"\d\.\d of 120 latents explain [6-9]\d% of the variance", first)
    assert len(hits) == 3
    assert all(re.search(r"[23] topics in common", hit) for hit in hits)


@pytest.mark.usefixtures("neural")
def test_concepts(run: Run) -> None:
    output = run("concepts.py")
    before, after = map(int, re.findall(r"(\d+)% of the concepts", output))
    assert after > 90 > before + 20
    found = re.search(r"question 0 finds document 0, score (0\.\d+): (.*)", output)
    assert found
    parts = [float(number) for number in re.findall(r"(0\.\d+)", found[2])]
    assert sum(parts) == pytest.approx(float(found[1]), abs=0.02)


def test_filter(run: Run) -> None:
    found = [re.split(r"\s{2,}", line) for line in run("filter.py").splitlines()]
    assert [ids for _, ids in found] == ["n2 n3", "n1 n3", "n4", "n2", "n1 n4"]
    assert found[3][0] == "year >= 1955 and year < 1960"


def test_feedback(run: Run) -> None:
    output = run("feedback.py")
    rows = re.findall(r"^(query|query and 3 documents) +([\d.]+) +([\d.]+)$", output, re.M)
    (_, *plain), (_, *judged) = rows
    assert all(float(new) > float(old) + 0.04 for old, new in zip(plain, judged, strict=True))


def test_rerank(run: Run) -> None:
    output = run("rerank.py")
    rows = re.findall(r"^(\w.*?)  +(0\.\d+)  (0\.\d+)$", output, re.M)
    ndcg = {name: float(value) for name, value, _ in rows}
    alike = {name: float(value) for name, _, value in rows}
    assert ndcg["phrases"] > ndcg["as found"] > ndcg["mmr, lambda 0.7"]
    assert alike["as found"] > alike["mmr, lambda 0.7"] > alike["mmr, lambda 0.5"]


def test_codebooks(run: Run) -> None:
    output = run("codebooks.py")
    shares = [float(share) for share in re.findall(r"^ *\d+ examples?: +([\d.]+)$", output, re.M)]
    assert len(shares) == 3
    assert shares == sorted(shares)
    assert shares[-1] > 0.8


def test_explain(run: Run) -> None:
    output = run("explain.py")
    score = re.search(r"document 64, score ([\d.]+)", output)
    total = re.search(r"sum of the contributions: ([\d.]+)", output)
    assert score
    assert total
    assert float(total[1]) == pytest.approx(float(score[1]), abs=2e-4)
    products = re.findall(r"^ *\w+ +([\d.]+) x ([\d.]+) = ([\d.]+)$", output, re.M)
    assert len(products) == 4
    for query_weight, document_weight, contribution in products:
        product = float(query_weight) * float(document_weight)
        assert product == pytest.approx(float(contribution), abs=1e-3)
    assert "not in the document: paper" in output


def test_evaluate(run: Run) -> None:
    output = run("evaluate.py")
    assert "225 queries of cranfield" in output
    usual, other = (float(value) for value in re.findall(r"^nDCG@10 ([\d.]+)", output, re.M))
    assert usual == pytest.approx(0.526, abs=0.005)
    difference = re.search(r"nDCG@10: difference ([+-][\d.]+), p = ([\d.]+)", output)
    assert difference
    assert float(difference[1]) == pytest.approx(other - usual, abs=1e-4)
    assert float(difference[2]) < 0.05


def test_rag(run: Run) -> None:
    output = run("rag.py")
    facts = re.findall(r"^  \[(\d)\] document (\d+), \d+-\d+: (.*)$", output, re.M)
    assert [place for place, *_ in facts] == ["1", "2", "3"]
    assert facts[0][1] == "100"
    assert "fatigue failures" in facts[0][2]
    careless, dropped = output.split("\n\nof a careless reader: ")[1].splitlines()
    assert "fatigue failures" in careless
    assert "[1]" in careless
    assert "[2]" not in careless
    assert "abolished by decree" in dropped
    assert run("rag.py", "xylophone zucchini").startswith("no answer\n")


def test_rag_prompt(run: Run) -> None:
    output = run("rag_prompt.py").removesuffix("\n")
    assert len(output) <= 2500
    assert output.startswith("Answer the question")
    assert output.endswith("Answer:")
    cited = re.findall(r"^\[(\d+)\] \(document (\d+), ", output, re.M)
    assert [number for number, _ in cited] == [str(i + 1) for i in range(len(cited))]
    assert len(cited) >= 3
    assert "1" in {document for _, document in cited}  # the report on wings in a slipstream


def test_rag_prompt_without_an_answer(run: Run) -> None:
    output = run("rag_prompt.py", "xylophone zucchini")
    assert "Question: xylophone zucchini" in output
    assert "[1] (" not in output


def test_own_vectors(run: Run) -> None:
    output = run("own_vectors.py")
    hits = re.findall(r"^([\d.]+) +(\d+)  ", output, re.M)
    scores = [float(score) for score, _ in hits]
    assert len(hits) == 3
    assert scores == sorted(scores, reverse=True)
    assert f"best score of the full product: {hits[0][0]}" in output


def test_index_a_folder_follows_the_folder(run: Run, tmp_path: Path) -> None:
    folder, index = tmp_path / "notes", tmp_path / "notes.idx"
    (folder / "deep").mkdir(parents=True)
    (folder / "wing.md").write_text("# Wings\n\nThe lift of a wing.\n", "utf-8")
    (folder / "deep" / "panel.txt").write_text("Panels\nThey flutter.\n", "utf-8")
    (folder / "table.csv").write_text("wing,lift\n", "utf-8")
    first = run("index_a_folder.py", folder, index, "wing lift")
    assert first.startswith("2 files indexed, 0 deleted, 2 in the index\n")
    assert "wing.md  (Wings)" in first
    assert "panel" not in first

    assert run("index_a_folder.py", folder, index, "x").startswith("0 files indexed, 0 deleted")

    (folder / "wing.md").unlink()
    (folder / "deep" / "panel.txt").write_text("Panels\nThey flutter like a wing.\n", "utf-8")
    last = run("index_a_folder.py", folder, index, "wing")
    assert last.startswith("1 files indexed, 1 deleted, 1 in the index\n")
    assert "deep/panel.txt  (Panels)" in last


def test_index_a_folder_on_the_documentation(run: Run) -> None:
    output = run("index_a_folder.py")
    assert "storage.md" in output.splitlines()[1]


def test_random_projection(run: Run) -> None:
    output = run("random_projection.py")
    kept = re.search(r"distances: ([\d.]+) times what they were, deviation ([\d.]+)", output)
    assert kept
    assert float(kept[1]) == pytest.approx(1, abs=0.02)
    assert float(kept[2]) < 0.05


def test_expansion_hashing(run: Run) -> None:
    hits = re.findall(r"^ *(\d+) winners shared with +(\d+)  ", run("expansion_hashing.py"), re.M)
    assert hits[0][1] == "1"
    assert int(hits[0][0]) > 2 * int(hits[1][0])


def test_losse(run: Run) -> None:
    output = run("losse.py")
    assert "40 of 660 cells a point" in output
    errors = [float(error) for error in re.findall(r"largest error on them ([\d.]+)", output)]
    assert len(errors) == 4
    assert max(errors) < 0.05
    apart = re.search(r"in reverse order: the same within (\S+)", output)
    assert apart
    assert float(apart[1]) < 1e-8


def test_fastrp(run: Run) -> None:
    found = re.search(r"nearest to node 0, (\d+) are of its community", run("fastrp.py"))
    assert found
    assert int(found[1]) >= 18


def test_splade(run: Run, splade_tiny: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    output = run("splade.py", splade_tiny, "20")
    assert "20 documents, " in output
    hits = re.findall(r"^([\d.]+) +(\d+)  ", output, re.M)
    assert len(hits) == 3
    words = re.findall(r"^ *(\S+) ([\d.]+) (in the query|added)$", output, re.M)
    weights = [float(weight) for _, weight, _ in words]
    assert len(words) == 16
    assert weights == sorted(weights, reverse=True)
    assert {"aircraft", "skin"} <= {word for word, _, where in words if where == "in the query"}
    assert "added" in {where for *_, where in words}


def test_inference_free(run: Run, splade_tiny: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    output = run("inference_free.py", splade_tiny, "20")
    scores = [float(score) for score, _ in re.findall(r"^([\d.]+) +(\d+)  ", output, re.M)]
    terms = re.findall(r"^ *(\S+) ([\d.]+) x ([\d.]+)$", output, re.M)
    assert {term for term, *_ in terms} <= {"boundary", "layer", "on", "a", "flat", "plate"}
    total = sum(float(own) * float(other) for _, own, other in terms)
    assert total == pytest.approx(scores[0], abs=0.05)
    assert "saved and loaded: the same" in output


@pytest.mark.usefixtures("neural")
def test_unicoil(run: Run) -> None:
    output = run("unicoil.py")
    first, last = map(float, re.findall(r"loss ([\d.]+) in the first step, ([\d.]+) in", output)[0])
    assert last < first
    scores = re.findall(r"^ *(\d+) +\d+  \w+", output, re.M)
    assert len(scores) == 3
    products = re.findall(r"^  (\d+) x (\d+)  \S+$", output, re.M)
    assert len(products) >= 3
    assert all(int(document) <= 255 for _, document in products)  # of 8 bits
    assert sum(int(q) * int(d) for q, d in products) <= int(scores[0])


@pytest.mark.usefixtures("neural")
def test_deepimpact(run: Run) -> None:
    assert run("deepimpact.py").splitlines() == [
        "airscrew: 1",
        "supersonic plate: 3",
        "conductivity: 2",
    ]


@pytest.mark.usefixtures("neural")
def test_causal_lm(run: Run) -> None:
    output = run("causal_lm.py")
    assert "the model reads: Heat in composite slabs. Heat in composite slabs." in output
    assert len(re.findall(r"^  (?:\S+ \d\.\d\d *){8}$", output, re.M)) == 2


@pytest.mark.usefixtures("neural")
def test_promptreps(run: Run) -> None:
    lines = run("promptreps.py").splitlines()
    assert [line.split()[0] for line in lines] == ["sparse"] * 2 + ["dense"] * 2 + ["hybrid"] * 2
    scores = [[float(score) for score in line.split()[-3:]] for line in lines]
    for sparse, dense, hybrid in zip(scores[:2], scores[2:4], scores[4:], strict=True):
        assert max(sparse) > 0
        assert max(dense) <= 1
        assert max(hybrid) <= 1


@pytest.mark.usefixtures("neural")
def test_uhd(run: Run) -> None:
    output = run("uhd.py")
    of_query = int(re.findall(r"buckets, (\d+) of the query", output)[0])
    found, shared = re.findall(r"document (\d+) shares (\d+) of them", output)[0]
    assert found == "5"
    assert of_query / 2 < int(shared) <= of_query
    assert "layer 1 #" in output


def test_sdr_search(run: Run) -> None:
    lines = run("sdr_search.py").splitlines()
    assert lines[0].startswith("4 codes of 2688 cells")
    shared = [int(line.split()[0]) for line in lines[1:4]]
    assert shared == sorted(shared, reverse=True)
    assert "flutter" in lines[1]
    assert shared[2] > int(lines[4].split()[0])


def test_sdr_memory(run: Run) -> None:
    *recalled, theory = run("sdr_memory.py").splitlines()
    for line in recalled:
        winners, cells = map(float, re.findall(r"([\d.]+)%", line)[1:])
        assert winners > 95
        assert cells > 95
    assert theory.endswith("659 patterns: 1 %")


def test_hybrid(run: Run) -> None:
    out = run("hybrid.py").splitlines()
    assert out[0] == "propellers and wings"
    assert "slipstream" in out[1]
    assert "meaning" in out[1]
    assert "words 0.00" in out[4]  # misspelt
    assert "supersonic" in out[4]
    assert out[-1] == "after 1960: ['2', '3']"


def test_haystack_pipeline(run: Run) -> None:
    pytest.importorskip("haystack", reason="haystack-ai is not installed")
    written, *lines = run("haystack_pipeline.py").splitlines()
    assert written == "300 documents written"
    numbers = [int(line.split()[0]) for line in lines if line.startswith(" ")]
    assert lines[0] == "all"
    assert len(numbers) == 6
    assert min(numbers[:3]) <= 100 < min(numbers[3:])


def test_beir_evaluation(run: Run) -> None:
    pytest.importorskip("beir", reason="beir is not installed")
    assert run("beir_evaluation.py") == "nDCG@10 0.52605, recall@100 0.75601\n"


def test_mteb_task(run: Run) -> None:
    pytest.importorskip("mteb", reason="mteb is not installed")
    assert run("mteb_task.py") == "sparseret/bm25: nDCG@10 0.52605\n"


def test_pyterrier_pipeline(run: Run) -> None:
    pytest.importorskip("pyterrier", reason="pyterrier is not installed")
    figures = [line.split()[-1] for line in run("pyterrier_pipeline.py").splitlines()]
    assert figures[:3] == ["ndcg_cut_10", "0.5260", "0.4969"]


def test_sentence_transformers_evaluator(run: Run) -> None:
    pytest.importorskip("sentence_transformers", minversion="6", reason="not installed")
    assert run("sentence_transformers_evaluator.py") == "bm25: nDCG@10 0.5204\n"


def test_langchain_store(run: Run) -> None:
    pytest.importorskip("langchain_core", reason="no LangChain (sparseret[langchain])")
    lines = run("langchain_store.py").splitlines()
    assert lines[2:] == [
        "late:   ['2']",
        "unlike: ['2', '4']",
        "What flutters? -> A flat plate flutters at supersonic speed.",
    ]
    assert all(set(re.findall(r"'(\d)'", line)) == {"1", "2"} for line in lines[:2])


def test_llama_index_store(run: Run) -> None:
    pytest.importorskip("llama_index.core", reason="no LlamaIndex (sparseret[llama-index])")
    *modes, last = run("llama_index_store.py").splitlines()
    assert [line.split()[0] for line in modes] == ["default", "sparse", "hybrid"]
    assert all("[('3', " in line for line in modes)
    assert last == "answered from ['1']"


def test_mcp_server(run: Run) -> None:
    pytest.importorskip("mcp", reason="no MCP SDK (sparseret[mcp])")
    assert run("mcp_server.py").splitlines() == [
        "search(query, k, filter, index)",
        "fetch(id, offset, max_characters, index)",
        "explain(query, id, filter, index)",
        "3 Flutter",
        "A wing flutters at supersonic speed.",
        "['wing']",
        "for example: year > 2015",
    ]


def test_exchange(run: Run) -> None:
    lines = run("exchange.py").splitlines()
    assert lines[0] == "index: 1400 documents"
    found = {line.split(":")[0]: line for line in lines[1:]}
    assert "1400 documents, 225 of 225 queries: same ten best" in found["anserini, floats"]
    assert "1400 documents" in found["anserini, whole numbers"]
    for name in ("ciff", "parquet"):
        assert "needs the extra" in found[name] or "225 of 225 queries: same" in found[name]
