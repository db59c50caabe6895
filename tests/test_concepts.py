"""Named concepts: codes against their formula, known concepts found again, real vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import read_documents
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.concept_training import ConceptTrainer
from sparseret.encoders.concepts import ConceptCodec, concept_matrix_search
from sparseret.errors import ConfigurationError, VectorError
from sparseret.eval.datasets import load_dataset
from sparseret.protocols import Codec

DIM, WIDTH = 40, 16
NAMES = [f"concept {j}" for j in range(DIM)]


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def inputs(n: int = 200, seed: int = 1) -> NDArray[np.float32]:
    return (gaussian(n, WIDTH, seed=seed) + 3).astype(np.float32)


# --- codes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 7, DIM])
def test_codes_are_the_largest_standardised_scores(k: int) -> None:
    w, x = gaussian(DIM, WIDTH), inputs()
    x[5] = 0  # a text without words: no part of the means, and no code
    codec = ConceptCodec(w, NAMES, k).fit(x)
    kept = np.delete(x, 5, axis=0).astype(np.float64)
    raw = kept @ w.T
    scores = (x @ w.T - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(codec.scores(x), scores, atol=1e-4)
    want = np.maximum(np.where(scores >= np.sort(scores, axis=1)[:, -k][:, None], scores, 0), 0)
    want[5] = 0
    want /= np.maximum(np.linalg.norm(want, axis=1, keepdims=True), 1e-12)
    codes = codec.transform(x)
    np.testing.assert_allclose(codes.toarray(), want, atol=1e-5)
    assert codes.dtype == np.float32
    assert codes.data.min() > 0
    assert codes.indptr[6] == codes.indptr[5]


def test_fitting_twice_is_fitting_once() -> None:
    codec = ConceptCodec(gaussian(DIM, WIDTH), NAMES, 5)
    codec.fit(gaussian(50, WIDTH, seed=7)).fit(inputs())
    once = ConceptCodec(gaussian(DIM, WIDTH), NAMES, 5).fit(inputs())
    np.testing.assert_allclose(codec.scores(inputs()), once.scores(inputs()), atol=1e-4)


def test_directions_of_any_length_are_the_same_concepts() -> None:
    lengths = np.random.default_rng(2).uniform(1e-6, 1e6, (DIM, 1))
    one, other = (
        ConceptCodec(gaussian(DIM, WIDTH) * scale, NAMES, 5).fit(inputs()) for scale in (1, lengths)
    )
    np.testing.assert_allclose(one.scores(inputs()), other.scores(inputs()), atol=1e-4)


def test_codec(tmp_path: Path) -> None:
    x = inputs()
    np.save(tmp_path / "x.npy", x)
    codec = ConceptCodec(gaussian(DIM, WIDTH), NAMES, 5).fit(x)
    assert isinstance(codec, Codec)
    codes = codec.transform(x)
    codec.save(tmp_path / "c")
    again = load_codec(tmp_path / "c")
    assert isinstance(again, ConceptCodec)
    assert (again.space, again.description, again.names) == (
        codec.space, "concepts (16 features to 40 concepts, k=5)", tuple(NAMES),
    )  # fmt: skip
    np.testing.assert_array_equal(again.transform(x).toarray(), codes.toarray())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert ConceptCodec(gaussian(DIM, WIDTH), NAMES, 5).fit(mapped).space == codec.space
    # A row depends on itself alone, however many stand beside it.
    np.testing.assert_allclose(codec.transform(x[7:8]).toarray(), codes[[7]].toarray(), rtol=1e-5)
    assert codec.transform(x[:0]).shape == (0, DIM)
    spaces = {
        codec.space,
        codec.with_k(6).space,
        ConceptCodec(codec.directions, NAMES[::-1], 5, bias=codec.bias).space,
        ConceptCodec(codec.directions, NAMES, 5).space,
    }
    assert len(spaces) == 4
    assert np.diff(codec.with_k(6).transform(x).indptr).max() == 6


def test_sizes_that_float32_hardly_holds() -> None:
    codec = ConceptCodec(gaussian(DIM, WIDTH), NAMES, 5)
    plain = codec.transform(inputs())
    for scale in (1e-30, 1e30):
        scaled = codec.transform(inputs() * np.float32(scale))
        np.testing.assert_allclose(scaled.toarray(), plain.toarray(), atol=1e-5)
    with pytest.raises(VectorError, match="more than float32 holds: scale the vectors"):
        ConceptCodec(gaussian(DIM, WIDTH) * 1e10, NAMES, 5).transform(inputs() * np.float32(1e30))


def test_bad_input() -> None:
    w = gaussian(3, WIDTH)
    names = ["wing", "heat", "panel"]
    for k in (0, 4, 1.5, True):
        with pytest.raises(ConfigurationError, match="k must be from 1 to 3, the concepts"):
            ConceptCodec(w, names, k)  # type: ignore[arg-type]
    for bad, message in (
        (["wing", "heat"], "2 names for 3 directions"),
        (["wing", "heat", "wing"], "the name 'wing' is there twice"),
        (["wing", " ", "heat"], "name 1 is empty"),
        (["wing", 2, "heat"], "must be a sequence of texts"),
        ("abc", "must be a sequence of texts"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            ConceptCodec(w, bad, 1)  # type: ignore[arg-type]
    without = w.copy()
    without[1] = 0
    with pytest.raises(VectorError, match="direction of the concept 'heat' is zero"):
        ConceptCodec(without, names, 1)
    without[1, 2] = np.nan
    with pytest.raises(VectorError, match="vector 1 holds NaN"):
        ConceptCodec(without, names, 1)
    with pytest.raises(VectorError, match=r"not \(dim, n_features\)"):
        ConceptCodec(np.zeros((0, 4)), [], 1)
    for bias in (np.zeros(2), np.full(3, np.nan)):
        with pytest.raises(VectorError, match="bias must be 3 finite numbers"):
            ConceptCodec(w, names, 1, bias=bias)
    codec = ConceptCodec(w, names, 1)
    x = inputs()
    with pytest.raises(VectorError, match="4 features, and the codec 16"):
        codec.transform(gaussian(2, 4))
    with pytest.raises(VectorError, match="4 features, and the codec 16"):
        codec.fit(gaussian(2, 4))
    x[3, 2] = np.inf
    with pytest.raises(VectorError, match="vector 3 holds NaN"):
        codec.fit(x)
    with pytest.raises(VectorError, match="1 vectors that are not zero are too few"):
        codec.fit(np.concatenate([inputs(1), np.zeros((3, WIDTH))]))
    with pytest.raises(VectorError, match="scores of the concept 'wing' do not vary"):
        codec.fit(np.repeat(inputs(1) / 3, 20, axis=0))
    narrow = inputs()
    narrow[:, 4] = 2.3  # a constant feature is nothing special, unless it is all of a concept
    codec.fit(narrow)
    with pytest.raises(VectorError, match="scores of the concept 'four' do not vary"):
        ConceptCodec(np.eye(WIDTH)[[2, 4]], ["two", "four"], 1).fit(narrow)


# --- search -------------------------------------------------------------------------------------


def test_concept_matrix_search() -> None:
    classes = [[1, 0, 0], [0, 2, 0], [1, 1, 1]]
    items = [[5, 1, 0], [0, 1e-3, 0], [9, 8, 9], [0, 0, 0]]
    assert concept_matrix_search(items, classes).tolist() == [0, 1, 2, 0]
    assert concept_matrix_search(np.zeros((0, 3)), classes).shape == (0,)
    with pytest.raises(VectorError, match="2 features, and the codec 3"):
        concept_matrix_search([[1, 2]], classes)
    for without in (np.zeros((0, 3)), [[1, 0, 0], [0, 0, 0]]):
        with pytest.raises(VectorError, match="one row or more of scores that are not all 0"):
            concept_matrix_search(items, without)


# --- training -----------------------------------------------------------------------------------


class Known:
    """Vectors of two views that share the concepts behind them, beside what each has alone.

    The given directions are rough: what a name's vector is to the concept that it stands for.
    """

    def __init__(self, n: int = 1500, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.standard_normal((64, 64)))[0]
        self.true, other = basis[:24], basis[24:]
        self.active = np.zeros((n, 24), bool)
        for row in self.active:
            row[rng.choice(24, 3, replace=False)] = True
        views = []
        for _ in range(2):
            weights = self.active * rng.uniform(0.7, 1.3, self.active.shape)
            own = 0.7 * rng.standard_normal((n, len(other))) @ other
            views.append((weights @ self.true + own).astype(np.float32))
        self.x, self.y = views
        self.rough = self.true + 0.9 * rng.standard_normal((24, len(other))) @ other / 4
        names = [f"c{j}" for j in range(24)]
        self.start = ConceptCodec(self.rough, names, 3).fit(np.concatenate(views))

    def found(self, codec: ConceptCodec, among: slice) -> float:
        """Share of the concepts of a code that are those behind the vector."""
        codes = codec.transform(self.x[among]).toarray() > 0
        return float((codes & self.active[among]).sum() / codes.sum())


LOSSES: list[tuple[Any, dict[str, Any]]] = [
    ("contrastive", {}),
    ("gumbel", {}),
    ("l1", {"l1_weight": 0.05}),
]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("loss", "more"), LOSSES)
def test_concepts_are_found_again(loss: Any, more: dict[str, Any]) -> None:
    known = Known()
    trainer = ConceptTrainer(known.start, loss, epochs=6, batch_size=100, **more)
    codec = trainer.fit(known.x[:1000], known.y[:1000]).codec
    assert len(trainer.history) == 60
    assert np.mean(trainer.history[-10:]) < np.mean(trainer.history[:10])
    held_out = slice(1000, 1500)
    assert known.found(codec, held_out) > known.found(known.start, held_out) + 0.1
    # The columns are still those that were named: nearest to their own true directions.
    cosines = codec.directions @ known.true.T
    assert (cosines.argmax(axis=1) == np.arange(24)).all()
    assert trainer.fidelity().shape == (24,)
    assert 0.5 < trainer.fidelity().min() < trainer.fidelity().max() <= 1
    again = ConceptTrainer(known.start, loss, epochs=6, batch_size=100, **more)
    assert again.fit(known.x[:1000], known.y[:1000]).codec.space == codec.space
    other = ConceptTrainer(known.start, loss, epochs=6, batch_size=100, seed=1, **more)
    assert other.fit(known.x[:1000], known.y[:1000]).codec.space != codec.space


@pytest.mark.usefixtures("one_thread")
def test_the_l1_norm_makes_codes_shorter() -> None:
    known = Known()
    start = known.start.with_k(24)
    sizes = []
    for weight in (0.0, 0.5):
        trainer = ConceptTrainer(start, "l1", l1_weight=weight, epochs=3, batch_size=100)
        sizes.append(trainer.fit(known.x, known.y).codec.transform(known.x).nnz)
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.usefixtures("one_thread")
def test_losses_are_their_formulas() -> None:
    """The first step's loss, by NumPy; of one label there are two pairs."""
    known = Known(8)
    labels = np.array([0, 1, 2, 3, 3, 5, 6, 7])

    def sparse(x: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(known.start.transform(x).toarray(), np.float64)

    s = sparse(known.x) @ sparse(known.y[labels]).T / 0.2
    same = (labels[:, None] == labels) & ~np.eye(8, dtype=bool)
    rng = np.random.default_rng(4)
    order = rng.permutation(np.arange(8))  # as batches are shuffled: blocks first, then rows
    rng = np.random.default_rng(4)
    rng.permutation(np.arange(0, 8, 2**16))
    order = rng.permutation(np.arange(8))
    noise = [rng.gumbel(size=(8, 8)) for _ in range(2)]

    def cross_entropy(scores: NDArray[Any]) -> float:
        exact = np.where(same, -np.inf, scores)
        return float(np.mean(np.log(np.exp(exact).sum(axis=1)) - np.diag(exact)))

    s, same = s[np.ix_(order, order)], same[np.ix_(order, order)]
    both = (cross_entropy(s) + cross_entropy(s.T)) / 2
    noisy = [cross_entropy((part + g) / 0.7) for part, g in zip((s, s.T), noise, strict=True)]

    def first(loss: Any, **more: Any) -> float:
        trainer = ConceptTrainer(known.start, loss, temperature=0.2, epochs=1, seed=4, **more)
        return trainer.fit(known.x, known.y, labels).history[0]

    assert first("contrastive") == pytest.approx(both, rel=1e-4)
    assert first("gumbel", gumbel_temperature=0.7) == pytest.approx(sum(noisy) / 2, rel=1e-4)
    wide = known.start.with_k(24)
    x, y = (wide.transform(part).toarray() for part in (known.x, known.y[labels]))
    one_way = cross_entropy((x @ y.T / 0.2)[np.ix_(order, order)])
    norms = np.concatenate([x, y]).sum(axis=1).mean()
    assert first("l1", l1_weight=0.3) == pytest.approx(one_way + 0.3 * norms, rel=1e-4)


@pytest.mark.usefixtures("one_thread")
def test_training_in_parts_and_from_files(tmp_path: Path) -> None:
    known = Known(300)
    np.save(tmp_path / "x.npy", known.x)
    np.save(tmp_path / "y.npy", known.y)
    x, y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")
    made = [
        ConceptTrainer(known.start, epochs=2, batch_size=50).fit(*pair).codec.space
        for pair in ((known.x, known.y), (x, y))
    ]
    assert made[0] == made[1]
    before = known.start.space
    trainer = ConceptTrainer(known.start, batch_size=50)
    for _ in range(3):
        trainer.partial_fit(known.x, known.y)
    assert len(trainer.history) == 18
    assert trainer.history[-1] < trainer.history[0]
    assert known.start.space == before != trainer.codec.space


def test_training_on_bad_input() -> None:
    start = Known(50).start
    for options, message in (
        ({"loss": "hinge"}, "loss 'hinge' is not one of contrastive, gumbel, l1"),
        ({"epochs": 0}, "epochs must be a whole number from 1, got 0"),
        ({"batch_size": 1}, "batch_size must be a whole number from 2, got 1"),
        ({"seed": -1}, "seed must be a whole number from 0, got -1"),
        ({"temperature": 0}, "temperature must be above 0 and below 100, got 0"),
        ({"gumbel_temperature": np.nan}, "gumbel_temperature must be above 0"),
        ({"learning_rate": 10}, "learning_rate must be above 0 and below 10"),
        ({"l1_weight": -1}, "l1_weight must be 0 or more, got -1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            ConceptTrainer(start, **options)  # type: ignore[arg-type]
    trainer = ConceptTrainer(start)
    for property_of in (lambda: trainer.codec, trainer.fidelity):
        with pytest.raises(ConfigurationError, match="have learned nothing: call fit"):
            property_of()
    x, y = gaussian(6, 64), gaussian(6, 64, seed=1)
    for arguments, message in (
        ((x, y[:5]), "6 vectors for 5: give labels, or pairs row by row"),
        ((x[:, :9], y), "vectors have 9 features, and the concepts 64"),
        ((x, y[:, :9]), "vectors have 9 features, and the concepts 64"),
        ((x, y, [0, 1, 2]), "labels must be 6 whole numbers"),
        ((x, y, [0.0, 1, 2, 3, 4, 5]), "labels must be 6 whole numbers"),
        ((x, y, [0, 1, 2, 3, 4, 6]), "labels must be numbers of rows of Y, 0 to 5"),
        ((x, y, [-1, 1, 2, 3, 4, 5]), "labels must be numbers of rows of Y, 0 to 5"),
        ((x[:1], y[:1]), "1 vectors of fewer than two labels"),
        ((x, y, [2] * 6), "6 vectors of fewer than two labels"),
        ((x[:0], y[:0]), "0 vectors of fewer than two labels"),
        ((x[0], y), "dense vectors must be numbers of shape"),
    ):
        with pytest.raises(VectorError, match=message):
            trainer.fit(*arguments)


@pytest.mark.usefixtures("one_thread")
def test_training_on_values_that_are_not_finite() -> None:
    trainer = ConceptTrainer(Known(50).start)
    x = gaussian(6, 64)
    x[4, 1] = np.nan
    with pytest.raises(VectorError, match="vector 4 holds NaN"):
        trainer.fit(x, gaussian(6, 64))
    with pytest.raises(VectorError, match="vector 4 holds NaN"):
        trainer.fit(gaussian(6, 64), x)


# --- real vectors -------------------------------------------------------------------------------


class Cranfield:
    """MiniLM's vectors of Cranfield (tests/test_codes_quality.py); documents serve as concepts,
    by their titles, as the names' vectors would need the model."""

    def __init__(self) -> None:
        self.dataset = load_dataset("cranfield")
        found = [record.document for record in read_documents(self.dataset.corpus)]
        self.ids = [document.id for document in found]
        with np.load(Path(__file__).parent / "data" / "cranfield-minilm.npz") as arrays:
            self.documents, self.queries = (
                arrays[name].astype(np.float32) for name in ("documents", "queries")
            )
        titles = {}
        for place in range(0, len(found), 2):
            if found[place].title:
                titles.setdefault(found[place].title, place)
        self.places = list(titles.values())
        self.names = list(titles)


@pytest.fixture(scope="module")
def real() -> Cranfield:
    return Cranfield()


def test_concepts_of_real_vectors_find_what_vectors_find(real: Cranfield) -> None:
    from sparseret.eval.code_retrieval import VectorCollection, rate_retrieval

    collection = VectorCollection(real.dataset, real.ids, real.documents, real.queries)
    codec = ConceptCodec(real.documents[real.places], real.names, 32).fit(real.documents)
    found = rate_retrieval(codec, collection)
    assert found.nnz <= 32
    assert found.ndcg > 0.37  # by the vectors themselves 0.5075
    # Without means and deviations the same concepts are in most codes.
    plain = ConceptCodec(real.documents[real.places], real.names, 32)
    assert found.ndcg > rate_retrieval(plain, collection).ndcg + 0.005


def test_concept_matrix_search_of_real_vectors(real: Cranfield) -> None:
    """Which of 225 questions does a document answer? Codes tell it for a third, cosines of the
    vectors for 42 %; scores of all concepts, as in the paper, are too alike for so many."""
    places = {id: place for place, id in enumerate(real.ids)}
    concepts = {*real.places}
    wanted: dict[int, set[int]] = {}
    for number, query in enumerate(real.dataset.queries):
        for id, gain in real.dataset.qrels.get(query.id, {}).items():
            if gain >= 3 and places[id] not in concepts:
                wanted.setdefault(places[id], set()).add(number)
    items = np.array(sorted(wanted))
    both = np.concatenate([real.documents, real.queries])
    codec = ConceptCodec(real.documents[real.places], real.names, 32).fit(both)

    def accuracy(found: NDArray[np.int64]) -> float:
        return float(np.mean([f in wanted[i] for i, f in zip(items, found.tolist(), strict=True)]))

    codes, classes = (codec.transform(x).toarray() for x in (real.documents[items], real.queries))
    by_codes = accuracy(concept_matrix_search(codes, classes))
    scores, classes = codec.scores(real.documents[items]), codec.scores(real.queries)
    by_scores = accuracy(concept_matrix_search(scores, classes))
    by_cosine = accuracy(np.argmax(real.documents[items] @ real.queries.T, axis=1))
    assert by_cosine == pytest.approx(0.419, abs=0.01)
    assert by_codes > 0.33
    assert by_codes > by_scores + 0.1


# --- encoders of texts --------------------------------------------------------------------------


CONCEPTS = ["wing", "heat transfer", "boundary layer", "flow", "pressure", "shock wave", "flutter"]


@pytest.mark.usefixtures("neural", "one_thread")
@pytest.mark.parametrize("loss", ["none", "contrastive", "gumbel", "l1"])
def test_documents_and_names_to_an_encoder(
    run: Callable[..., Any], dense_model: Path, sixty_documents: Path, tmp_path: Path, loss: str
) -> None:
    from sparseret import Retriever
    from sparseret.encoders.codes import CodesEncoder

    (tmp_path / "names.txt").write_text("\n".join(["", *CONCEPTS, "  "]))
    out = tmp_path / "concepts"
    arguments = (
        "train", "concepts", sixty_documents, "--model", dense_model,
        "--concepts", tmp_path / "names.txt", "--out", out, "-k", "3",
        "--loss", loss, "--epochs", "2", "--batch-size", "50",
    )  # fmt: skip
    done = run(*arguments)
    assert done.status == 0, done.err
    assert "7 concepts, k=3" in done.out
    assert ("cosine of concepts with their names" in done.out) == (loss != "none")
    assert not [path for path in out.iterdir() if path.name.startswith("training-")]
    encoder = CodesEncoder.load(out)
    assert [encoder.term(column) for column in range(7)] == CONCEPTS
    encoder.save(tmp_path / "again")
    again = CodesEncoder.load(tmp_path / "again")
    assert again.space == encoder.space
    assert again.term(1) == "heat transfer"
    with Retriever.create(tmp_path / "index", again) as retriever:
        retriever.add(record.document for record in read_documents(sixty_documents))
        retriever.commit()
    with Retriever.open(tmp_path / "index") as retriever:
        (best, *_) = retriever.search("lift of a wing", k=3)
        explained = retriever.explain("lift of a wing", best.id)
        assert {part.term for part in explained.terms} <= {*CONCEPTS}
        assert explained.score == pytest.approx(best.score, rel=1e-5)
        assert sum(part.contribution for part in explained.terms) == pytest.approx(best.score)
    found = run("search", tmp_path / "index", "lift of a wing", "-k", "1", "--explain")
    assert any(name in found.out for name in CONCEPTS)
    again = run(*arguments)
    assert again.status == 1
    assert "is not an empty folder" in again.err


@pytest.mark.usefixtures("neural")
def test_names_that_cannot_be_used(
    run: Callable[..., Any], dense_model: Path, sixty_documents: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    command = (
        "train",
        "concepts",
        sixty_documents,
        "--model",
        dense_model,
        "--concepts",
        names,
        "--out",
    )
    for content, k, message in (
        (None, 1, "names.txt cannot be read: No such file"),
        (b"\n \n", 1, "names.txt holds no names: write one a line"),
        (b"wing\n\nheat\nwing \n", 1, "line 4: 'wing' is in line 1, too"),
        (b"wing\xff\n", 1, "is not a text in UTF-8"),
        (b"wing\nheat\n", 3, "k must be from 1 to 2, the concepts, got 3"),
    ):
        if content is not None:
            names.write_bytes(content)
        done = run(*command, tmp_path / "out", "-k", k)
        assert done.status == 1
        assert message in " ".join(done.err.split())
        assert "Traceback" not in done.err
        assert not (tmp_path / "out").exists()


def test_concepts_are_no_codec_of_vectors_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", inputs())
    done = run("train", "codec", "concepts", tmp_path / "x.npy", "--out", tmp_path / "out")
    assert done.status == 1
    assert "`sparseret train concepts` makes them" in " ".join(done.err.split())
