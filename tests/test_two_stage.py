"""Two-stage search: light codes in memory, vectors on disk, and the plan for a budget of memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.errors import ConfigurationError, CorruptIndexError, VectorError
from sparseret.indexers import dense_ann, dense_codes
from sparseret.indexers.creation import LegSpec, create_folder
from sparseret.indexers.dense_calibration import DenseCalibration
from sparseret.indexers.dense_leg import DenseLeg
from sparseret.indexers.dense_segment import (
    DenseSegment,
    merge_dense,
    read_dense_segment,
    verify_dense_segment,
    write_dense_segment,
)
from sparseret.indexers.dense_settings import DenseSettings
from sparseret.indexers.folder import IndexFolder
from sparseret.indexers.memory_plan import (
    CodeOption,
    MeasuredCodes,
    measure_codes,
    options_within,
    plan_two_stage,
)
from sparseret.indexers.quantiser import Quantiser, corner_entries
from sparseret.indexers.quantiser_fit import fit_quantiser
from sparseret.kernels import reference
from sparseret.train.two_stage import (
    TwoStageSettings,
    nearest_neighbours,
    train_adapter,
    train_quantiser,
    walk_negatives,
)

FILE = Path(__file__).parent / "data" / "cranfield-minilm.npz"
KINDS = ("binary", "pq")


@pytest.fixture
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_ann, "_LEAST", dict.fromkeys(dense_ann._LEAST, 10))


def made(path: Path, vectors: Any, settings: DenseSettings, **more: Any) -> DenseSegment:
    numbers = np.arange(0, 3 * len(vectors), 3)
    size, crc = write_dense_segment(path, numbers, vectors, settings, **more)
    return read_dense_segment(path, size=size, header_crc=crc)


def packed(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    full = np.zeros(-(-len(mask) // 64) * 64, bool)
    full[: len(mask)] = mask
    return np.packbits(full, bitorder="little").view(np.uint64)


def recall(found: Any, truth: Any) -> float:
    return float(
        np.mean([np.isin(t.rows, f.rows).mean() for f, t in zip(found, truth, strict=True)])
    )


def real() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.load(FILE) as data:
        return data["documents"].astype(np.float32), data["queries"].astype(np.float32)


# --- codes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3, 48])
def test_code_scores_are_those_of_the_reference(width: int) -> None:
    rng = np.random.default_rng(width)
    for n, m in ((0, 2), (1, 1), (7, 3), (8, 1), (9, 2), (100, 1)):
        codes = rng.integers(0, 256, (n, width), np.uint8)
        tables = rng.standard_normal((m, width, 256)) * 10.0 ** rng.integers(-6, 6, (m, width, 256))
        tables = tables.astype(np.float32)
        found = kernels.code_scores(codes, tables)
        assert found.shape == (m, n)
        assert np.array_equal(found, reference.code_scores(codes, tables))
    tables[:] = np.inf
    tables[..., ::2] = -np.inf
    with np.errstate(invalid="ignore"):
        expected = reference.code_scores(codes, tables)
    assert np.array_equal(kernels.code_scores(codes, tables), expected, equal_nan=True)


def test_codes_and_tables_that_do_not_fit_are_refused() -> None:
    codes, tables = np.zeros((3, 2), np.uint8), np.zeros((1, 2, 256), np.float32)
    wrong: list[tuple[Any, Any]] = [
        (codes.astype(np.int8), tables), (codes, tables.astype(np.float64)), (codes, tables[:, :1]),
        (codes[0], tables), (codes[:, :0], tables[:, :0]), (codes, tables[..., :255]),
    ]  # fmt: skip
    for some, others in wrong:
        with pytest.raises(VectorError):
            kernels.code_scores(some, others)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code_bytes", [1, 2, 4])
def test_a_score_is_the_product_with_the_decoded_vector(kind: Any, code_bytes: int) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((500, 32)) * np.linspace(5, 1, 32) + 3).astype(np.float32)
    quantiser = fit_quantiser(kind, code_bytes, rows)
    again = Quantiser.from_bytes(quantiser.to_bytes(), "it")
    codes = quantiser.encode(rows)
    assert np.array_equal(again.encode(rows).codes, codes.codes)
    query = rng.standard_normal(32).astype(np.float32)
    scores = kernels.code_scores(codes.codes, quantiser.table(query)[None])[0]
    chosen = quantiser.entries[np.arange(code_bytes), codes.codes].reshape(len(rows), -1)
    assert np.allclose(scores, chosen @ (query @ quantiser.rotation), rtol=1e-4, atol=1e-3)
    turned = (rows - quantiser.mean) @ quantiser.rotation
    if codes.factors is None:  # the nearest entry of each slice
        parts = turned.reshape(len(rows), code_bytes, 1, -1)
        nearest = ((parts - quantiser.entries) ** 2).sum(axis=3).argmin(axis=2)
        assert (nearest == codes.codes).mean() > 0.999
    else:  # the product of a vector with its own code is its squared length
        assert np.array_equal(chosen > 0, turned > 0)
        own = codes.factors * (chosen * turned).sum(axis=1)
        assert np.allclose(own, (turned**2).sum(axis=1), rtol=2e-3)


def test_codes_of_degenerate_vectors() -> None:
    rng = np.random.default_rng(2)
    random = rng.standard_normal((300, 12)).astype(np.float32)
    cases = [
        random[:1], np.zeros((20, 12), np.float32), np.repeat(random[:1], 50, axis=0),
        random * np.float32(1e-42), random * np.float32(1e30),
        random * (10.0 ** rng.integers(-30, 18, (300, 1))).astype(np.float32),
    ]  # fmt: skip
    for rows in cases:
        for kind in KINDS:
            with np.errstate(all="ignore"):
                quantiser = fit_quantiser(kind, 2, rows)  # type: ignore[arg-type]
                codes = quantiser.encode(rows)
            assert codes.codes.shape == (len(rows), 2)
            assert codes.factors is None or np.isfinite(codes.factors).all()
    assert fit_quantiser("binary", 2, random).rotation.shape == (12, 16)  # 4 bits that mean nothing
    assert len(fit_quantiser("pq", 2, random).encode(random[:0]).codes) == 0


def test_quantisers_that_cannot_be(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((300, 12)).astype(np.float32)
    with pytest.raises(ConfigurationError, match="does not divide"):
        fit_quantiser("pq", 5, rows)
    with pytest.raises(ConfigurationError, match="at most 2"):
        fit_quantiser("binary", 3, rows)
    good = fit_quantiser("pq", 2, rows)
    with pytest.raises(ConfigurationError, match="do not fit"):
        Quantiser("pq", good.mean[1:], good.rotation, good.entries)
    with pytest.raises(ConfigurationError, match="finite"):
        Quantiser("pq", good.mean * np.nan, good.rotation, good.entries)
    with pytest.raises(ConfigurationError, match="codes must be"):
        Quantiser("ivf", good.mean, good.rotation, corner_entries(2))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Quantiser.load(tmp_path / "none")
    data = good.to_bytes()
    for damaged in (b"", data[:10], data[:30], data[:-1], data[:-4], data + b"1234", b"x" + data):
        (tmp_path / "q").write_bytes(damaged)
        with pytest.raises(CorruptIndexError, match="no sound quantiser"):
            Quantiser.load(tmp_path / "q")
    good.save(tmp_path / "q")
    assert Quantiser.load(tmp_path / "q").to_bytes() == data


# --- segments -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_real_vectors_are_found_with_exact_scores(
    tmp_path: Path, kind: Any, precision: Any
) -> None:
    documents, queries = real()
    segment = made(tmp_path / "s", documents, DenseSettings(kind, precision=precision))
    assert segment.built == kind
    truth = segment.search(queries, 10)
    found = segment.search(queries, 10, effort=100)
    assert recall(found, truth) >= 0.98
    assert recall(segment.search(queries, 10, effort=20), truth) >= 0.75
    for some, all_ in zip(found, truth, strict=True):
        exact = dict(zip(all_.rows.tolist(), all_.scores.tolist(), strict=True))
        assert all(
            exact.get(r, s) == s for r, s in zip(some.rows, some.scores.tolist(), strict=True)
        )
    everything = segment.search(queries, 10, effort=len(documents))
    for some, all_ in zip(everything, truth, strict=True):
        assert np.array_equal(some.rows, all_.rows)
        assert np.array_equal(some.scores, all_.scores)


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
def test_candidates_depend_on_nothing_but_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    documents, queries = real()
    twice = np.concatenate([documents, documents[:700]])  # ties, which go to the smaller row
    segment = made(tmp_path / "s", twice, DenseSettings(kind, code_bytes=8))
    before = [segment.search(queries[:30], 5, effort=e) for e in (5, 40)]
    monkeypatch.setattr(dense_codes, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(dense_codes, "_BLOCK_ROWS", 100)
    monkeypatch.setattr(dense_codes, "_MARGIN", 7)
    for expected, effort in zip(before, (5, 40), strict=True):
        for threads in (1, 3):
            for step in (1, 30):
                for q in range(0, 30, step):
                    found = segment.search(queries[q : q + step], 5, effort=effort, threads=threads)
                    for some, other in zip(found, expected[q : q + step], strict=True):
                        assert np.array_equal(some.rows, other.rows)
                        assert np.array_equal(some.scores, other.scores)


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
def test_filters_and_ranges(tmp_path: Path, kind: Any) -> None:
    documents, queries = real()
    documents[::50] = 0  # never hits
    queries = queries[:40]
    segment = made(tmp_path / "s", documents, DenseSettings(kind))
    rng = np.random.default_rng(3)
    n = len(documents)
    for share in (0.02, 0.2, 0.9):
        mask = rng.random(n) < share
        for inside in (None, range(333, 1100), range(100, 110)):
            more: Any = {"allowed": packed(mask), "inside": inside}
            truth = segment.search(queries, 10, **more)
            found = segment.search(queries, 10, effort=150, **more)
            assert recall(found, truth) >= 0.98
            for hits in found:
                assert mask[hits.rows].all()
                assert documents[hits.rows].any(axis=1).all()
                assert inside is None or np.isin(hits.rows, inside).all()
    assert segment.search(np.zeros((1, 384)), 5, effort=5)[0].rows.tolist() == []


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("kind", KINDS)
def test_merging_gives_what_writing_at_once_does(tmp_path: Path, kind: Any) -> None:
    documents, _ = real()
    settings = DenseSettings(kind, code_bytes=12)
    at_once = made(tmp_path / "s", documents, settings)
    parts = []
    for begin, end in ((0, 600), (600, 610), (610, 1400)):
        path = tmp_path / str(begin)
        numbers = np.arange(3 * begin, 3 * end, 3)
        size, crc = write_dense_segment(path, numbers, documents[begin:end], settings)
        parts.append((read_dense_segment(path, size=size, header_crc=crc), None))
    merge_dense(parts, tmp_path / "merged", settings)
    assert (tmp_path / "merged").read_bytes() == at_once.path.read_bytes()


@pytest.mark.usefixtures("_small_segments")
def test_damage_is_found(tmp_path: Path) -> None:
    documents, queries = real()
    documents = documents[:100]
    path = tmp_path / "s"
    size, crc = write_dense_segment(path, np.arange(100), documents, DenseSettings("binary"))
    whole = path.read_bytes()
    sound = read_dense_segment(path, size=size, header_crc=crc)
    assert verify_dense_segment(sound) == []
    for length in (0, 1, 4000, 5000, size // 2, size - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CorruptIndexError):
            read_dense_segment(tmp_path / "cut", size=size, header_crc=crc)
    begin = whole.index(b"sparseret-quantiser")
    end = begin + len(sound.file.structure) - 8
    for at in [begin - 4, *np.linspace(begin, end - 1, 40).astype(int).tolist()]:
        data = bytearray(whole)
        data[at] ^= 0x41
        (tmp_path / "flipped").write_bytes(data)
        flipped = read_dense_segment(tmp_path / "flipped", size=size, header_crc=crc)
        with pytest.raises(CorruptIndexError, match="structure"):
            flipped.search(queries[:1], 5, effort=10)
        assert len(flipped.search(queries[:1], 5)[0].rows) == 5  # exact search needs no codes
        assert len(verify_dense_segment(flipped)) == 1


@pytest.mark.usefixtures("_small_segments")
def test_a_learned_quantiser_is_kept_with_the_segments(tmp_path: Path) -> None:
    documents, queries = real()
    quantiser = fit_quantiser("pq", 24, documents[::3])
    settings = DenseSettings("pq", code_bytes=24)
    segment = made(tmp_path / "s", documents, settings, quantiser=quantiser)
    assert bytes(quantiser.to_bytes()) in (tmp_path / "s").read_bytes()
    truth = segment.search(queries, 10)
    assert recall(segment.search(queries, 10, effort=100), truth) >= 0.9
    for wrong in (DenseSettings("pq", code_bytes=48), DenseSettings("binary", code_bytes=24)):
        with pytest.raises(ConfigurationError, match="the quantiser makes pq codes of 24 bytes"):
            made(tmp_path / "x", documents, wrong, quantiser=quantiser)
        assert not (tmp_path / "x").exists()


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    vectors = np.ones((5, 12), np.float32)
    for settings in (DenseSettings("pq", code_bytes=5), DenseSettings("binary", code_bytes=3)):
        with pytest.raises(ConfigurationError, match="code_bytes"):
            made(tmp_path / "s", vectors, settings)
    with pytest.raises(ConfigurationError, match="quantiser"):
        DenseSettings("hnsw", quantiser="file")
    assert made(tmp_path / "s", vectors, DenseSettings("pq")).built == "flat"
    assert [DenseSettings(k).codes_for(384) for k in KINDS] == [48, 48]  # type: ignore[arg-type]
    assert DenseSettings("binary").codes_for(100) == 13
    assert DenseSettings("pq").codes_for(100) == 10


# --- the plan -----------------------------------------------------------------------------------


def planted(n: int, dim: int = 24, seed: int = 4) -> NDArray[np.float32]:
    """Vectors whose values matter less and less."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * 0.9 ** np.arange(dim)).astype(np.float32)


def test_ranks_say_which_recall_so_many_candidates_have() -> None:
    codes = MeasuredCodes(
        CodeOption("pq", 4), 1000, np.array([1, 1, 2, 3, 10, 10, 20, 40, 80, 900])
    )
    assert [codes.recall(c) for c in (0, 1, 9, 10, 900)] == [0, 0.2, 0.4, 0.6, 1]
    assert [codes.candidates(r) for r in (0.01, 0.2, 0.21, 0.6, 0.9, 1.0)] == [1, 1, 2, 10, 80, 900]
    for r in np.linspace(0.01, 1, 50):
        assert codes.recall(codes.candidates(r)) >= r
        assert codes.recall(codes.candidates(r) - 1) < r


def test_measured_recall_is_that_of_a_search(tmp_path: Path) -> None:
    documents, queries = real()
    documents = documents[documents.any(axis=1)]
    n_kept = len(documents) - len(documents[::4])
    measured = measure_codes(documents, queries, [CodeOption("pq", 24), CodeOption("binary", 24)])
    for codes in measured:
        assert codes.n_vectors == n_kept
        assert len(codes.ranks) == 10 * 200
        assert codes.ranks.min() >= 1
        kept = documents[np.arange(len(documents)) % 4 > 0]
        quantiser = fit_quantiser(codes.option.kind, codes.option.code_bytes, documents[::4])
        settings = DenseSettings(codes.option.kind, code_bytes=codes.option.code_bytes)
        path = tmp_path / codes.option.kind
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dense_ann, "_LEAST", dict.fromkeys(dense_ann._LEAST, 10))
            segment = made(path, kept, settings, quantiser=quantiser)
        truth = segment.search(queries[:200], 10)
        found = recall(segment.search(queries[:200], 10, effort=30), truth)
        assert abs(found - codes.recall(30)) < 0.01
    assert measure_codes(documents, None, [CodeOption("pq", 24)])[0].recall(100) > 0.9
    again = measure_codes(documents, queries, [CodeOption("pq", 24)])[0]
    assert np.array_equal(again.ranks, measured[0].ranks)


def test_more_memory_never_needs_more_candidates() -> None:
    vectors = planted(2000)
    n, dim = 1_000_000, vectors.shape[1]
    least = min(o.memory_bytes(n, dim) for o in options_within(n, dim, 10**12))
    measured = measure_codes(vectors, None, options_within(n, dim, 10**12))
    before = n
    kinds = set()
    for budget in np.geomspace(least, 110e6, 25).astype(int).tolist():
        try:
            plan = plan_two_stage(n, dim, budget, measured)
        except ConfigurationError:  # codes fit, but not the candidates that they need
            assert not kinds
            continue
        assert plan.memory_bytes <= budget
        assert plan.candidates <= before
        assert plan.recall >= 0.95
        assert plan.disk_bytes == 4 * dim * plan.candidates
        before = plan.candidates
        kinds.add((plan.settings.kind, plan.settings.code_bytes))
    assert len(kinds) >= 2
    assert plan.settings.kind == "flat"
    assert (plan.candidates, plan.recall, plan.disk_bytes) == (0, 1.0, 0)
    budget = 9 * least
    wanted = [plan_two_stage(n, dim, budget, measured, recall=r) for r in (0.5, 0.8, 0.9, 0.99)]
    assert [p.candidates for p in wanted] == sorted(p.candidates for p in wanted)


def test_a_budget_below_the_smallest_codes_is_refused() -> None:
    least = min(o.memory_bytes(10**6, 384) for o in options_within(10**6, 384, 10**12))
    assert len(options_within(10**6, 384, least)) == 1
    with pytest.raises(ConfigurationError, match=f"need {least:,} bytes of memory at least"):
        options_within(10**6, 384, least - 1)
    for measured in ([], [MeasuredCodes(CodeOption("pq", 96), 1000, np.array([1]))]):
        with pytest.raises(ConfigurationError, match="need"):
            plan_two_stage(10**6, 384, least - 1, measured)
        with pytest.raises(ConfigurationError, match="measure smaller ones"):
            plan_two_stage(10**6, 384, least, measured)
    for dim in (1, 7, 8, 383):  # primes, too, have codes
        for option in options_within(1000, dim, 10**12):
            fit_quantiser(option.kind, option.code_bytes, planted(300, dim))


def test_what_cannot_be_measured_is_refused() -> None:
    vectors = planted(500)
    options = [CodeOption("binary", 2)]
    for queries, k, message in (
        (None, 0, "k must be"), (None, 500, "k must be"), (np.zeros((3, 24)), 5, "zero"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=message):
            measure_codes(vectors, queries, options, k=k)
    for wrong in (vectors[0], vectors * np.nan):
        with pytest.raises(VectorError):
            measure_codes(wrong, None, options)
    with pytest.raises(VectorError, match="queries"):
        measure_codes(vectors, vectors[:, :5], options)
    for r in (0, -1, 1.01):
        with pytest.raises(ConfigurationError, match="recall"):
            plan_two_stage(10, 24, 1, [], recall=r)


def test_the_command_line_plans(run: Callable[..., Any], tmp_path: Path) -> None:
    documents, queries = real()
    np.save(tmp_path / "v.npy", documents[:700])
    np.save(tmp_path / "q.npy", queries)
    ran = run("plan-memory", tmp_path / "v.npy", "--memory", "40MB", "--total", 200_000,
              "--queries", tmp_path / "q.npy")  # fmt: skip
    assert (ran.status, ran.err) == (0, "")
    assert "best: " in ran.out
    assert re.search(r"--dense kind=(pq|binary) --dense code_bytes=\d+", ran.out)
    ran = run("plan-memory", tmp_path / "v.npy", "--memory", "16MB")
    assert "--dense kind=flat" in ran.out
    for options, message in (
        (["--memory", "1MB"], "give more memory"),
        (["--memory", "9MB", "--recall", "1.5"], "above 0 and up to 1"),
        (["--memory", "9MB", "-n", "100000", "-k", "5000"], "k must be"),
    ):
        ran = run("plan-memory", tmp_path / "v.npy", *options)
        assert ran.status == 1
        assert message in ran.err
    (tmp_path / "x.npy").write_bytes(b"no")
    assert run("plan-memory", tmp_path / "x.npy", "--memory", "1MB").status == 1


def test_an_index_keeps_a_learned_quantiser(tmp_path: Path) -> None:
    documents, queries = real()
    documents = np.concatenate([documents, documents + np.float32(0.05)])[:2100]
    quantiser = fit_quantiser("pq", 48, documents)
    quantiser.save(tmp_path / "q")
    settings = DenseSettings("pq", quantiser=str(tmp_path / "q"))
    spec = LegSpec("", "test", 384, dense=settings)
    other = DenseSettings("pq", code_bytes=24, quantiser=settings.quantiser)
    with pytest.raises(ConfigurationError, match="needs pq codes of 24 bytes"):
        _ = LegSpec("", "test", 384, dense=other).meta
    create_folder(tmp_path / "i.idx", [spec], {}, [], None)
    (tmp_path / "q").unlink()
    index = IndexFolder(tmp_path / "i.idx")
    index.append([str(i) for i in range(len(documents))], [documents])
    index.commit()
    leg = index.legs[0]
    assert isinstance(leg, DenseLeg)
    assert bytes(quantiser.to_bytes()) in leg.snapshot.files[0].path.read_bytes()
    found = leg.snapshot.search(queries, 10, effort=100)
    exact = leg.snapshot.search(queries, 10)
    shares = [np.isin(a, b).mean() for a, b in zip(exact.numbers, found.numbers, strict=True)]
    assert np.mean(shares) > 0.95
    key, text = leg.calibrate(queries[:50], threads=1)
    assert key == "calibration"
    levels = DenseCalibration.from_json(text).levels
    assert {level.k for level in levels} <= {10, 100}
    index.close()


# --- learning -----------------------------------------------------------------------------------


def scented(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Documents of 32 values that matter alike to themselves, and queries that know 8 of them."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((n, 8))
    documents = np.hstack([signal, rng.standard_normal((n, 24))])
    queries = np.hstack([signal + 0.1 * rng.standard_normal((n, 8)), np.zeros((n, 24))])
    return queries.astype(np.float32), documents.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_learned_codes_find_more_on_unseen_queries(kind: Any) -> None:
    pytest.importorskip("torch")
    queries, documents = scented(1500, 0)
    start = fit_quantiser(kind, 2, documents)
    settings = TwoStageSettings(steps=80, batch_size=64, learning_rate=0.02, temperature=4.0)
    learned = train_quantiser(start, queries[:1000], documents, np.arange(1000), settings)
    shares = []
    for quantiser in (start, learned):
        codes, factors = quantiser.encode(documents)
        hits = 0
        for number in range(1000, 1500):
            scores = kernels.code_scores(codes, quantiser.table(queries[number])[None])[0]
            scores = scores if factors is None else scores * factors
            hits += int((scores >= scores[number]).sum() <= 100)
        shares.append(hits / 500)
    assert shares[1] > shares[0] + 0.1
    again = train_quantiser(start, queries[:1000], documents, np.arange(1000), settings)
    assert again.to_bytes() == learned.to_bytes()


def test_an_adapter_ranks_unseen_queries_better() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    documents = rng.standard_normal((1200, 16)).astype(np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    turn = np.linalg.qr(np.eye(16) + 0.25 * rng.standard_normal((16, 16)))[0].astype(np.float32)
    queries = documents @ turn
    settings = TwoStageSettings(steps=150, batch_size=64, learning_rate=0.01)
    adapter = train_adapter(queries[:900], documents, np.arange(900), settings)
    ranks = []
    for some in (queries, queries @ adapter):
        scores = some[900:] @ documents.T
        ranks.append((scores >= scores[np.arange(300), np.arange(900, 1200), None]).sum(1))
    assert (ranks[1] == 1).mean() > (ranks[0] == 1).mean() + 0.1
    again = train_adapter(queries[:900], documents, np.arange(900), settings)
    assert np.array_equal(again, adapter)


def test_walks_end_near_and_never_at_their_start() -> None:
    line = np.arange(20, dtype=np.float32)
    documents = np.stack([np.cos(line / 20), np.sin(line / 20)], axis=1)
    near = nearest_neighbours(documents, 2)
    assert (near != np.arange(20)[:, None]).all()
    assert near[10].tolist() == [9, 11]
    starts = np.arange(20)
    ends = walk_negatives(near, starts, 50, 3, np.random.default_rng(0))
    assert ends.shape == (20, 50)
    assert (ends != starts[:, None]).all()
    assert np.abs(ends - starts[:, None]).max() <= 6
    assert len(np.unique(ends[10])) > 2


def test_what_cannot_be_learned_from_is_refused() -> None:
    pytest.importorskip("torch")
    queries, documents = scented(300, 0)
    start = fit_quantiser("binary", 2, documents)
    numbers = np.arange(300)
    settings = TwoStageSettings(steps=1, batch_size=16)
    wrong: list[tuple[Any, Any, Any]] = [
        (queries[:, :5], documents, numbers), (queries, documents, numbers[:5]),
        (queries, documents, numbers - 1), (queries, documents, numbers + 1),
        (queries, documents, numbers * 1.0), (queries * np.nan, documents, numbers),
    ]  # fmt: skip
    for some, others, positives in wrong:
        with pytest.raises(VectorError):
            train_quantiser(start, some, others, positives, settings)
        with pytest.raises(VectorError):
            train_adapter(some, others, positives, settings)
    with pytest.raises(ConfigurationError, match="do not fill a batch"):
        train_adapter(queries[:9], documents, numbers[:9], settings)
    for option in ({"steps": 0}, {"batch_size": 1}, {"hops": 0}, {"temperature": 0.0}):
        with pytest.raises(ConfigurationError):
            TwoStageSettings(**option)  # type: ignore[arg-type]
