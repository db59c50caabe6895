"""SDRs as values and batches, and what makes numbers, categories, vectors and texts into them."""

from __future__ import annotations

import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparseret import Retriever
from sparseret.documents import Document
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.sdr import Sdr, add_noise, changed_cells, stack, union, unstack
from sparseret.encoders.sdr_dense import SdrCodec
from sparseret.encoders.sdr_hash import cells_of
from sparseret.encoders.sdr_text import SdrTextEncoder
from sparseret.encoders.sdr_theory import overlap_probabilities
from sparseret.encoders.sdr_values import CategorySdr, ScalarSdr
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Codec, Encoder
from sparseret.registry import load_encoder
from sparseret.vectors import check, check_binary


def overlaps(codes: csr_array, others: csr_array) -> np.ndarray:
    return (codes @ others.T).toarray().astype(int)


def random_rows(n: int, n_cells: int, active: int, seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    return stack([Sdr(n_cells, rng.choice(n_cells, active, replace=False)) for _ in range(n)])


# --- values and batches ---------------------------------------------------------------------


def test_a_code_is_a_value() -> None:
    a, b = Sdr(10, [7, 1, 3]), Sdr(10, np.array([3, 7, 9], np.uint8))
    assert a.active.tolist() == [1, 3, 7]
    assert a == Sdr(10, (1, 3, 7))
    assert hash(a) == hash(Sdr(10, [7, 3, 1]))
    assert len({a, b, Sdr(10, [1, 3, 7])}) == 2
    assert a != Sdr(11, [1, 3, 7])
    assert a != "Sdr"
    assert deepcopy(a) == pickle.loads(pickle.dumps(a)) == a
    assert (len(a), a.density, a.overlap(b)) == (3, 0.3, 2)
    assert (a | b).active.tolist() == [1, 3, 7, 9]
    assert (a & b).active.tolist() == [3, 7]
    assert repr(a) == "Sdr(10, [1, 3, 7])"
    assert repr(Sdr(20, range(9))).endswith("7, ...])")
    with pytest.raises(AttributeError, match="does not change"):
        a.n_cells = 3
    with pytest.raises(ValueError, match="read-only"):
        a.active[0] = 2
    assert len(Sdr(5, [])) == 0
    assert a.sample(2, seed=0).overlap(a) == 2
    with pytest.raises(ConfigurationError, match="4 cannot be drawn"):
        a.sample(4, seed=0)


def test_codes_that_cannot_be() -> None:
    for n_cells, active, message in (
        (10, [10], r"0\.\.9"), (10, [-1], r"0\.\.9"), (10, [2, 2], "twice"), (0, [], "1 to"),
        (10, [1.5], "whole numbers"), (10, [[1]], "whole numbers"),
    ):  # fmt: skip
        with pytest.raises(VectorError, match=message):
            Sdr(n_cells, active)
    with pytest.raises(VectorError, match="do not compare"):
        Sdr(10, [1]).overlap(Sdr(11, [1]))
    with pytest.raises(VectorError, match="2 bytes"):
        Sdr.from_packed(9, np.zeros(1, np.uint8))
    with pytest.raises(VectorError, match=r"0\.\.8"):
        Sdr.from_packed(9, np.array([0, 128], np.uint8))
    with pytest.raises(VectorError, match=r"\(n_cells,\)"):
        Sdr.from_dense(np.zeros((2, 2)))
    with pytest.raises(VectorError, match="no codes"):
        stack([])
    with pytest.raises(VectorError, match="do not compare"):
        stack([Sdr(10, [1]), Sdr(11, [1])])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.sets(st.integers(0, n - 1)), min_size=1,
                                             max_size=6))))  # fmt: skip
def test_forms_of_codes(given_codes: tuple[int, list[set[int]]]) -> None:
    n, sets = given_codes
    codes = [Sdr(n, cells) for cells in sets]
    rows = stack(codes)
    assert check(rows) is rows
    assert unstack(rows) == codes
    assert unstack(union(rows)) == [Sdr(n, set().union(*sets))]
    for code in codes:
        assert Sdr.from_dense(code.dense()) == code
        assert Sdr.from_packed(n, code.packed()) == code
        assert code.overlap(codes[0]) == int((code.dense() & codes[0].dense()).sum())
    assert unstack(rows[:0]) == []


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 1])
def test_noise_moves_exactly_its_share(fraction: float) -> None:
    rows = random_rows(50, 100, 20)
    noisy = add_noise(rows, fraction, seed=1)
    assert check(noisy).shape == rows.shape
    assert np.diff(noisy.indptr).tolist() == [20] * 50
    shared = np.diag(overlaps(rows, noisy))
    assert shared.tolist() == [20 - changed_cells(20, fraction)] * 50
    again = add_noise(rows, fraction, seed=1)
    np.testing.assert_array_equal(again.indices, noisy.indices)
    # What moves, moves anywhere: every cell is hit.
    if fraction == 1:
        assert len(np.unique(noisy.indices)) == 100
    first = add_noise(rows[:1], fraction, seed=1)
    assert unstack(rows)[0].noise(fraction, seed=1) == unstack(first)[0]


def test_noise_that_cannot_be() -> None:
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigurationError, match="0 to 1"):
            add_noise(random_rows(1, 10, 2), fraction, seed=0)
    with pytest.raises(VectorError, match="4 active cells to move, and 1"):
        add_noise(stack([Sdr(5, range(4))]), 1, seed=0)
    assert changed_cells(5, 0.5) == 3
    with pytest.raises(VectorError, match="binary"):
        union(csr_array(np.array([[2.0]])))


# --- numbers and categories -----------------------------------------------------------------


@pytest.mark.parametrize("periodic", [False, True])
def test_near_numbers_share_cells(periodic: bool) -> None:
    encoder = ScalarSdr(0, 24, cells=240, active=25, periodic=periodic)
    values = np.linspace(0, 24, 97)[:-1]
    codes = encoder.encode(values)
    assert check_binary(codes).shape == (96, 240)
    shared = overlaps(codes, codes)
    assert (np.diag(shared) == 25).all()
    distance = np.abs(values[:, None] - values)
    if periodic:
        distance = np.minimum(distance, 24 - distance)
    step = 24 / (240 if periodic else 215)
    # One cell less a step, give or take where a bucket begins.
    assert (np.abs(shared - np.maximum(0, 25 - distance / step)) <= 1).all()
    for row, away in zip(shared, distance, strict=True):
        ordered = row[np.argsort(away, kind="stable")]
        assert (np.diff(ordered) <= 1).all()
    for row in shared[:1]:
        half = row[: 48 if periodic else 96]
        assert (np.diff(half) <= 0).all()


def test_the_ends_of_a_circle_meet() -> None:
    hours = ScalarSdr(0, 24, periodic=True)
    a, b, c = (hours.encode([hour]) for hour in (0, 24, -24.0))
    assert overlaps(a, b) == overlaps(a, c) == [[21]]
    line = ScalarSdr(0, 24).encode([0, 24])
    assert overlaps(line[[0]], line[[1]]) == [[0]]
    assert line.indices.min() == 0
    assert line.indices.max() == 399


def test_numbers_that_cannot_be() -> None:
    encoder = ScalarSdr(0, 10)
    for values, message in (
        ([1, 11.0], "value 1 is 11.0"), ([np.nan], "nan"), ([[1]], "shape"), (["a"], "numbers"),
    ):  # fmt: skip
        with pytest.raises(VectorError, match=message):
            encoder.encode(values)
    assert encoder.encode(np.empty(0)).shape == (0, 400)
    for low, high in ((1, 1), (2, 1), (0, np.inf)):
        with pytest.raises(ConfigurationError, match="low first"):
            ScalarSdr(low, high)
    for made in (lambda: ScalarSdr(0, 1, cells=5, active=5), lambda: CategorySdr(active=0)):
        with pytest.raises(ConfigurationError, match="not all"):
            made()


def test_categories_share_cells_by_chance_alone() -> None:
    encoder = CategorySdr(cells=400, active=20, seed=1)
    names = [f"category {i}" for i in range(200)]
    codes = encoder.encode([*names, "category 0"])
    assert check_binary(codes).shape == (201, 400)
    shared = overlaps(codes, codes)
    assert shared[0, 200] == 20
    pairs = shared[:200, :200][np.triu_indices(200, 1)]
    assert pairs.mean() == pytest.approx(20 * 20 / 400, abs=0.05)
    observed = np.bincount(pairs, minlength=21)[:21] / len(pairs)
    np.testing.assert_allclose(observed, overlap_probabilities(400, 20), atol=0.02)
    other = CategorySdr(cells=400, active=20, seed=2).encode(["category 0"])
    assert overlaps(codes[[0]], other)[0, 0] < 10
    assert encoder.encode([]).shape == (0, 400)
    for wrong in ("category", [1]):
        with pytest.raises(VectorError, match="list of strings"):
            encoder.encode(wrong)  # type: ignore[arg-type]


def test_hashed_cells_are_what_they_were() -> None:
    """Codes that were stored must stay comparable."""
    assert cells_of("sparse", 5, 2048, 0).tolist() == HASHED
    assert sorted(cells_of("a", 64, 64, 3).tolist()) == list(range(64))


HASHED = [1542, 1632, 2043, 2044, 213]


# --- dense vectors --------------------------------------------------------------------------


def test_vectors_near_in_angle_share_winners() -> None:
    rng = np.random.default_rng(0)
    start, away = np.linalg.qr(rng.standard_normal((64, 2)))[0].T
    angles = np.linspace(0, np.pi, 13)
    codec = SdrCodec(64, cells=4096, active=128, seed=5)
    codes = codec.transform(np.cos(angles)[:, None] * start + np.sin(angles)[:, None] * away)
    assert (np.diff(codes.indptr) == 128).all()
    shared = overlaps(codes, codes[[0]])[:, 0]
    assert shared[0] == 128
    assert (np.diff(shared[:8]) <= 0).all()
    assert (np.diff(shared[:5]) < 0).all()
    assert shared[-1] == 0


def test_codes_of_vectors() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 20)).astype(np.float32)
    codec = SdrCodec(20, cells=300, active=15)
    assert isinstance(codec, Codec)
    codes = codec.transform(x)
    assert check_binary(codes).shape == (30, codec.dim)
    for factor in (1e-30, 7.0, 1e37):
        np.testing.assert_array_equal(
            codec.transform(x * np.float32(factor)).indices, codes.indices
        )
    part = codec.transform(x[10:20])
    np.testing.assert_array_equal(part.indices, codes[10:20].indices)
    other = SdrCodec(20, cells=300, active=15, seed=1)
    assert other.space != codec.space
    assert not np.array_equal(other.transform(x).indices, codes.indices)
    assert codec.transform(np.zeros((2, 20))).nnz == 0
    assert codec.transform(np.zeros((0, 20))).shape == (0, 300)
    # Winners are the largest sums.
    signs = codec._expansion.toarray()
    assert (np.abs(signs).sum(axis=1) <= 10).all()
    scaled = x / np.abs(x).max(axis=1, keepdims=True)
    best = np.sort(np.argsort(-(scaled @ signs.T), axis=1, kind="stable")[:, :15], axis=1)
    assert (best == codes.indices.reshape(30, 15)).mean() > 0.99  # sums differ in rounding


def test_equal_sums_go_to_the_lower_cell() -> None:
    codec = SdrCodec(1, cells=100, active=10)
    (cells,) = unstack(codec.transform([[1.0]]))
    sums = codec._expansion.toarray()[:, 0]
    assert cells.active.tolist() == sorted(np.argsort(-sums, kind="stable")[:10].tolist())


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((50, 20))
    codec = SdrCodec(20, cells=300, active=15)
    whole = codec.transform(x)
    monkeypatch.setattr("sparseret.encoders.sdr_dense._BLOCK_BYTES", 4 * 300 * 7)
    np.testing.assert_array_equal(codec.transform(x).indices, whole.indices)
    x[33, 4] = np.nan
    with pytest.raises(VectorError, match="vector 33"):
        codec.transform(x)


def test_codec_is_saved(tmp_path: Path) -> None:
    codec = SdrCodec(20, cells=300, active=15, fan_in=4, seed=9)
    codec.save(tmp_path / "codec")
    again = load_codec(tmp_path / "codec")
    assert again.space == codec.space
    assert again.description == codec.description
    x = np.random.default_rng(1).standard_normal((5, 20))
    np.testing.assert_array_equal(again.transform(x).indices, codec.transform(x).indices)


def test_vectors_that_cannot_be() -> None:
    codec = SdrCodec(20)
    with pytest.raises(VectorError, match="21 features"):
        codec.transform(np.zeros((1, 21)))
    with pytest.raises(VectorError, match="21 features"):
        codec.transform(np.zeros((0, 21)))
    with pytest.raises(VectorError, match="n_features"):
        codec.transform(np.zeros(20))
    for sizes in ({"cells": 10, "active": 11}, {"active": 0}, {"fan_in": 0}):
        with pytest.raises(ConfigurationError, match="at least 1"):
            SdrCodec(20, **sizes)


# --- texts ----------------------------------------------------------------------------------


def words(first: int, last: int) -> str:
    return " ".join(f"w{i}" for i in range(first, last))


@pytest.mark.parametrize("active", [40, 160, 4000])
def test_texts_share_cells_as_they_share_words(active: int) -> None:
    encoder = SdrTextEncoder(cells=4096, active=active, language="simple")
    texts = [words(first, first + 40) for first in range(0, 45, 5)]
    codes = encoder.encode_documents(texts)
    assert check_binary(codes).shape == (9, 4096)
    assert np.diff(codes.indptr).max() <= active
    shared = overlaps(codes, codes[[0]])[:, 0]
    assert (np.diff(shared) < active / 10).all()
    assert (np.diff(shared[::2]) < 0).all()
    if active == 4000:  # not full: k cells a shared word, and few by chance
        common = np.array([40 - 5 * i for i in range(9)]) * 8
        assert (np.abs(shared - common) <= 8 + 0.1 * 320).all()


def test_frequent_words_stay_in_full_codes() -> None:
    encoder = SdrTextEncoder(cells=65_536, active=32, language="simple")
    text = words(0, 50) + " often" * 9
    (code,) = unstack(encoder.encode_documents([text]))
    (word,) = unstack(encoder.encode_queries(["often"]))
    assert len(word) == 8
    assert code.overlap(word) == 8


def test_runs_of_words_tell_orders_apart() -> None:
    encoder = SdrTextEncoder(ngrams=2, language="simple")
    query = encoder.encode_queries(["dog bites man"])
    same, other = (encoder.encode_documents([text]) for text in ("dog bites man", "man bites dog"))
    assert overlaps(query, same)[0, 0] == 40
    assert overlaps(query, other)[0, 0] == pytest.approx(24, abs=2)
    plain = SdrTextEncoder(language="simple")
    one, two = plain.encode_queries(["dog bites man"]), plain.encode_queries(["man bites dog"])
    np.testing.assert_array_equal(one.indices, two.indices)


def test_text_encoder_is_an_encoder(tmp_path: Path) -> None:
    encoder = load_encoder("sdr", {"cells": 1024, "active": 64, "seed": 3})
    assert isinstance(encoder, Encoder)
    assert encoder.dim == 1024
    again = load_encoder(encoder.name, encoder.options)
    assert again.space == encoder.space
    encoder.save(tmp_path)
    assert SdrTextEncoder.load(tmp_path).space == encoder.space
    assert load_encoder("sdr", {"seed": 4}).space != encoder.space
    document = Document("a", "heat flow", title="Wings")
    np.testing.assert_array_equal(
        encoder.encode_documents([document]).indices,
        encoder.encode_documents(["Wings heat flow"]).indices,
    )
    assert encoder.encode_documents(["", "the of"]).nnz == 0
    assert encoder.encode_documents([]).shape == (0, 1024)
    assert encoder.term(3) == "cell 3"
    with pytest.raises(KeyError):
        encoder.term(1024)


def test_retrieval_by_shared_cells(tmp_path: Path) -> None:
    texts = ["boundary layer on a flat plate", "heat transfer in hypersonic flow", "wing flutter"]
    with Retriever.create(tmp_path / "a.idx", "sdr") as retriever:
        retriever.add(Document(str(i), text) for i, text in enumerate(texts))
        retriever.commit()
        assert [hit.id for hit in retriever.search("hypersonic heat")] == ["1"]
    with Retriever.open(tmp_path / "a.idx") as retriever:
        assert retriever.search("flutter of wings")[0].id == "2"


@pytest.mark.parametrize(("options", "message"), [
    ({"cell": 3}, "no option 'cell'"), ({"cells": 10}, "at least 1"), ({"cells": 2.5}, "whole"),
    ({"cells_per_word": 0}, "at least 1"), ({"ngrams": 6}, "1 to 5"), ({"seed": 2**63}, "64 bits"),
    ({"language": "klingon"}, "klingon"),
])  # fmt: skip
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_encoder("sdr", options)


def test_folders_that_hold_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        SdrTextEncoder.load(tmp_path)
    (tmp_path / "encoder.json").write_text('{"encoder": "bm25"}')
    with pytest.raises(ConfigurationError, match="does not describe"):
        SdrTextEncoder.load(tmp_path)
