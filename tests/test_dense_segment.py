"""Dense segments: exact search against the plain meaning, files against damage, merging."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret.errors import (
    ConfigurationError,
    CorruptIndexError,
    IncompatibleIndexError,
    MissingExtraError,
    StorageError,
    VectorError,
)
from sparseret.indexers import dense_ann, dense_exact, dense_file
from sparseret.indexers.dense_segment import (
    DenseSegment,
    merge_dense,
    read_dense_segment,
    verify_dense_segment,
    write_dense_segment,
)
from sparseret.indexers.dense_settings import DenseSettings

FILE = Path(__file__).parent / "data" / "cranfield-minilm.npz"


def made(
    path: Path, vectors: Any, settings: DenseSettings | None = None, first: int = 0
) -> DenseSegment:
    numbers = np.arange(first, first + 3 * len(vectors), 3)
    size, crc = write_dense_segment(path, numbers, vectors, settings or DenseSettings(metric="ip"))
    assert path.stat().st_size == size
    return read_dense_segment(path, size=size, header_crc=crc)


def plain(
    segment: DenseSegment,
    query: NDArray[Any],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    inside: range | None = None,
) -> list[tuple[int, float]]:
    """The meaning, row by row."""
    query = np.asarray(query, np.float32)
    if segment.settings.metric == "cosine" and query.any():
        query = (query / np.sqrt((query.astype(np.float64) ** 2).sum())).astype(np.float32)
    # Row by row: a sum along one axis of a matrix is what is tested.
    scores = [(v * query.astype(np.float64)).sum() for v in segment.vectors.astype(np.float64)]
    possible = segment.vectors.any(axis=1) & query.any()
    if allowed is not None:
        possible &= allowed
    if inside is not None:
        possible &= np.isin(np.arange(segment.n_docs), inside)
    scored = [(-float(np.float32(scores[row])), row) for row in np.flatnonzero(possible).tolist()]
    return [(row, -score) for score, row in sorted(scored)[:k]]


def same(hits: Any, expected: list[tuple[int, float]]) -> None:
    assert hits.rows.dtype == np.int64
    assert hits.scores.dtype == np.float32
    assert list(zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)) == expected


def packed(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    full = np.zeros(-(-len(mask) // 64) * 64, bool)
    full[: len(mask)] = mask
    return np.packbits(full, bitorder="little").view(np.uint64)


def adversarial(rng: np.random.Generator, n: int, dim: int) -> dict[str, NDArray[np.float32]]:
    random = rng.standard_normal((n, dim)).astype(np.float32)
    few = random[rng.integers(0, 5, n)]
    holes = random.copy()
    holes[rng.random(n) < 0.3] = 0
    close = (random[0] + 1e-7 * rng.standard_normal((n, dim))).astype(np.float32)
    ascending = np.sort(rng.random(n))[:, None] * np.ones(dim)
    scales = random * 10.0 ** rng.integers(-30, 15, (n, 1))
    cancelling = np.where(np.arange(dim) % 2, -1, 1) * 1e6 + random
    return {
        "random": random, "duplicates": few, "zeros": holes, "close": close,
        "ascending": ascending.astype(np.float32), "scales": scales.astype(np.float32),
        "cancelling": cancelling.astype(np.float32), "denormal": random * np.float32(1e-40),
    }  # fmt: skip


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_exact_search_is_the_plain_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: Any, precision: Any
) -> None:
    monkeypatch.setattr(dense_exact, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(dense_exact, "_BLOCK_SCORES", 300)
    monkeypatch.setattr(dense_exact, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(dense_exact, "_QUERIES", 3)
    monkeypatch.setattr(dense_exact, "_MARGIN", 5)
    monkeypatch.setattr(dense_exact, "_BATCH", 1 if metric == "ip" else 12)  # BLAS, or the kernel
    rng = np.random.default_rng(5)
    n, dim = 110, 7
    for name, vectors in adversarial(rng, n, dim).items():
        if name in ("scales", "cancelling") and precision == "float16" and metric == "ip":
            continue  # beyond float16
        segment = made(tmp_path / name, vectors, DenseSettings(metric=metric, precision=precision))
        queries = np.concatenate([rng.standard_normal((4, dim)), np.zeros((1, dim)), vectors[:2]])
        masks: list[NDArray[np.bool_] | None] = [None, rng.random(n) < 0.1, rng.random(n) < 0.9]
        for mask in masks:
            for inside in (None, range(33, 90), range(109, 110), range(60, 60)):
                for k in (1, 10, 500):
                    args: Any = {"allowed": mask if mask is None else packed(mask)}
                    found = segment.search(queries, k, inside=inside, **args)
                    for query, hits in zip(queries, found, strict=True):
                        same(hits, plain(segment, query, k, mask, inside))
                    again = segment.search(queries, k, inside=inside, threads=2, **args)
                    assert [h.rows.tolist() for h in again] == [h.rows.tolist() for h in found]


def test_scores_do_not_depend_on_other_queries_or_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    vectors = rng.standard_normal((40_000, 40)).astype(np.float32)
    vectors[30_000:] = vectors[:10_000]
    segment = made(tmp_path / "s", vectors)
    queries = rng.standard_normal((20, 40)).astype(np.float32)
    for batch, many in zip(
        segment.search(queries, 30), segment.search(queries, 30, threads=4), strict=True
    ):
        assert np.array_equal(batch.rows, many.rows)
        assert np.array_equal(batch.scores, many.scores)
    together = segment.search(queries, 30)
    for query in range(3):
        alone = segment.search(queries[query : query + 1], 30)[0]
        assert np.array_equal(alone.rows, together[query].rows)
        assert np.array_equal(alone.scores, together[query].scores)
        same(alone, plain(segment, queries[query], 30))


def test_empty_and_tiny_segments(tmp_path: Path) -> None:
    none = made(tmp_path / "none", np.empty((0, 3), np.float32))
    assert none.n_docs == 0
    assert none.dim == 3
    assert [len(h.rows) for h in none.search(np.ones((2, 3)), 5)] == [0, 0]
    assert none.search(np.empty((0, 3)), 5) == []
    assert verify_dense_segment(none) == []
    one = made(tmp_path / "one", [[3.0, 4.0]], DenseSettings())
    same(one.search([[1.0, 0.0]], 5)[0], plain(one, np.array([1.0, 0.0]), 5))
    zero = made(tmp_path / "zero", np.zeros((3, 2)), DenseSettings())
    assert len(zero.search([[1.0, 0.0]], 5)[0].rows) == 0
    assert verify_dense_segment(zero) == []


def test_cosine_of_vectors_of_any_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((50, 8))
    lengths = 10.0 ** rng.integers(-30, 30, (50, 1))
    plainly = made(tmp_path / "a", vectors.astype(np.float32), DenseSettings())
    scaled = made(tmp_path / "b", (vectors * lengths).astype(np.float32), DenseSettings())
    assert np.abs(plainly.vectors - scaled.vectors).max() < 1e-6
    query = vectors[:1] * 1e20
    scores = scaled.search(query, 50)[0].scores
    assert scores[0] == pytest.approx(1, abs=1e-6)
    assert np.abs(scores).max() < 1 + 1e-6


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    vectors = rng.standard_normal((70, 4)).astype(np.float32)
    segment = made(tmp_path / "s", vectors)
    good = np.ones((1, 4))
    for bad in (
        np.ones(4),
        np.ones((1, 5)),
        [["a"] * 4],
        good * np.nan,
        good * np.inf,
        good * 1e39,
    ):
        with pytest.raises(VectorError):
            segment.search(bad, 1)
    with pytest.raises(VectorError, match="exceed float32"):
        segment.search(good * 3e38, 1)
    for k in (0, -1, 1.5, True):
        with pytest.raises(ConfigurationError, match="k must be"):
            segment.search(good, k)  # type: ignore[arg-type]
    for allowed in (np.zeros(1, np.uint64), np.zeros(2, np.int64), np.zeros(70, bool)):
        with pytest.raises(ConfigurationError, match="bitmap"):
            segment.search(good, 1, allowed=allowed)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="consecutive"):
        segment.search(good, 1, inside=range(0, 10, 2))
    for name in ("effort", "threads"):
        with pytest.raises(ConfigurationError, match=name):
            segment.search(good, 1, **{name: 0})
    numbers = np.arange(70)
    broken = vectors.copy()
    broken[33, 2] = np.nan
    refused = tmp_path / "refused"
    for given in (
        broken,
        vectors[:-1],
        vectors[:, 0],
        vectors[:, :0],
        vectors.astype(float) * 1e39,
    ):
        with pytest.raises(VectorError):
            write_dense_segment(refused, numbers, given, DenseSettings())
        assert not refused.exists()
    with pytest.raises(VectorError, match="row 33 "):
        write_dense_segment(refused, numbers, broken, DenseSettings())
    with pytest.raises(VectorError, match="float16"):
        half = DenseSettings(metric="ip", precision="float16")
        write_dense_segment(refused, numbers, vectors * 1e6, half)
    with pytest.raises(ConfigurationError, match="divide"):
        write_dense_segment(refused, numbers, vectors, DenseSettings("ivf-pq", code_bytes=3))
    with pytest.raises(ConfigurationError, match="ascend"):
        write_dense_segment(refused, numbers[::-1], vectors, DenseSettings())
    assert not refused.exists()
    with pytest.raises(StorageError):
        write_dense_segment(tmp_path / "s", numbers, vectors, DenseSettings())
    with pytest.raises(StorageError):
        write_dense_segment(tmp_path / "no" / "folder", numbers, vectors, DenseSettings())
    assert verify_dense_segment(segment) == []


def test_settings_are_checked_and_kept() -> None:
    settings = DenseSettings("ivf-pq", "ip", "float16", n_lists=100, code_bytes=16)
    assert DenseSettings.from_json(settings.to_json()) == settings
    for wrong in (
        {"kind": "tree"}, {"metric": "l2"}, {"precision": "int8"}, {"m": 1}, {"m": True},
        {"ef_construction": 0}, {"n_lists": 0}, {"code_bytes": 1.5},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            DenseSettings(**wrong)  # type: ignore[arg-type]
    for text in ("", "[]", '{"kind": "flat", "colour": 1}', '{"kind": 3}'):
        with pytest.raises(ConfigurationError):
            DenseSettings.from_json(text)
    assert settings.codes_for(64) == 16
    assert DenseSettings().codes_for(384) == 96
    assert DenseSettings().codes_for(7) == 1
    with pytest.raises(ConfigurationError, match="divide"):
        settings.codes_for(50)


def damage(path: Path, size: int, crc: int, step: int) -> None:
    """Every kind of damage to a file is refused or found."""
    sound = path.read_bytes()
    for length in range(0, size, step):
        path.write_bytes(sound[:length])
        with pytest.raises(CorruptIndexError):
            read_dense_segment(path, size=size, header_crc=crc)
    for at in range(0, size, step):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x40]) + sound[at + 1 :])
        try:
            segment = read_dense_segment(path, size=size, header_crc=crc)
        except CorruptIndexError:
            continue
        assert verify_dense_segment(segment) != []
    path.write_bytes(sound)
    assert verify_dense_segment(read_dense_segment(path, size=size, header_crc=crc)) == []


def test_damage_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((60, 5)).astype(np.float32)
    vectors[7] = 0
    path = tmp_path / "s"
    size, crc = write_dense_segment(path, np.arange(60), vectors, DenseSettings())
    damage(path, size, crc, 13)
    with pytest.raises(FileNotFoundError):
        read_dense_segment(tmp_path / "other", size=size, header_crc=crc)


def test_foreign_and_newer_files_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str) -> tuple[Path, int, int]:
        path = tmp_path / name
        return path, *write_dense_segment(path, np.arange(3), np.eye(3), DenseSettings())

    with monkeypatch.context() as patch:
        patch.setattr(dense_file, "_VERSION", 2)
        path, size, crc = write("newer")
    with pytest.raises(IncompatibleIndexError, match="upgrade"):
        read_dense_segment(path, size=size, header_crc=crc)
    with monkeypatch.context() as patch:
        patch.setattr(dense_file, "_FORMAT", "something")
        path, size, crc = write("foreign")
    with pytest.raises(CorruptIndexError, match="something"):
        read_dense_segment(path, size=size, header_crc=crc)


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    vectors = np.random.default_rng(2).standard_normal((9, 4)).astype(np.float32)
    segment = made(tmp_path / "s", vectors, DenseSettings(metric="ip", precision="float16"))
    arrays = load_file(tmp_path / "s")
    assert np.array_equal(arrays["vectors"], vectors.astype(np.float16))
    assert np.array_equal(arrays["numbers"], segment.numbers)
    assert segment.vectors.ctypes.data % 64 == 0


@pytest.mark.parametrize("settings", [DenseSettings(), DenseSettings(precision="float16")])
def test_a_merge_is_a_rebuild(tmp_path: Path, settings: DenseSettings) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((100, 6)).astype(np.float32)
    vectors[::9] = 0
    bounds = [0, 40, 41, 100]
    parts = [made(tmp_path / str(a), vectors[a:b], settings, 3 * a) for a, b in pairwise(bounds)]
    live = rng.random(100) < 0.6
    masks = [live[:40], None, live[41:]]
    live[40] = True
    merged = tmp_path / "merged"
    told = merge_dense(list(zip(parts, masks, strict=True)), merged, settings)
    again = tmp_path / "again"
    numbers = np.arange(0, 300, 3)[live]
    assert write_dense_segment(again, numbers, vectors[live], settings) == told
    assert merged.read_bytes() == again.read_bytes()
    with pytest.raises(ConfigurationError, match="metric"):
        merge_dense([(parts[0], None)], tmp_path / "x", DenseSettings(metric="ip"))
    with pytest.raises(ConfigurationError, match="dimension"):
        merge_dense([], tmp_path / "x", settings)
    with pytest.raises(ConfigurationError, match="mask"):
        merge_dense([(parts[0], masks[2])], tmp_path / "x", settings)


@pytest.fixture(scope="module")
def minilm() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.load(FILE) as arrays:
        return arrays["documents"].astype(np.float32), arrays["queries"].astype(np.float32)


@pytest.fixture
def small_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs and lists of few vectors, which are walked even where that costs more."""
    pytest.importorskip("faiss", reason="needs faiss-cpu (extra hybrid)")
    monkeypatch.setattr(dense_ann, "_LEAST", {"flat": 0, "hnsw": 10, "ivf-pq": 10})
    for name in ("_GRAPH_COST", "_CODE_COST", "_SKIP_COST"):
        monkeypatch.setattr(dense_ann, name, 0.0)


STRUCTURES = [
    DenseSettings("hnsw"),
    DenseSettings("hnsw", "ip", "float16", m=16),
    DenseSettings("ivf-pq", n_lists=20, code_bytes=48),
]


def recall(found: Any, exact: Any) -> float:
    pairs = zip(found, exact, strict=True)
    return float(np.mean([np.isin(e.rows, f.rows).mean() for f, e in pairs if len(e.rows)]))


def names(settings: DenseSettings) -> str:
    return f"{settings.kind}-{settings.precision}"


@pytest.mark.usefixtures("small_structures")
@pytest.mark.parametrize("settings", STRUCTURES, ids=names)
def test_approximate_search_of_real_vectors(
    tmp_path: Path, minilm: Any, settings: DenseSettings
) -> None:
    documents, queries = minilm
    documents = documents.copy()
    documents[100] = 0
    segment = made(tmp_path / "s", documents, settings)
    assert segment.built == settings.kind
    little, much = (1, 64) if settings.kind == "hnsw" else (1, 12)
    exact = segment.search(queries, 10)
    found = segment.search(queries, 10, effort=much)
    assert recall(found, exact) > 0.985
    assert recall(segment.search(queries, 10, effort=little), exact) < recall(found, exact)
    for query, hits in zip(queries[:5], found, strict=False):
        assert 100 not in hits.rows
        every = dict(plain(segment, query, len(documents)))
        assert [every[row] for row in hits.rows.tolist()] == hits.scores.tolist()
        assert np.array_equal(np.lexsort((hits.rows, -hits.scores)), np.arange(10))
    threads = segment.search(queries, 10, effort=much, threads=2)
    alone = [segment.search(query[None], 10, effort=much)[0] for query in queries]
    for other in (threads, alone):
        assert [h.rows.tolist() for h in other] == [h.rows.tolist() for h in found]
        assert [h.scores.tolist() for h in other] == [h.scores.tolist() for h in found]
    possible = int(documents.any(axis=1).sum())  # two texts are empty
    assert possible < len(documents) - 1
    assert len(segment.search(queries[:1], 5000, effort=much)[0].rows) == possible
    assert len(segment.search(np.zeros((1, 384)), 10, effort=much)[0].rows) == 0
    assert verify_dense_segment(segment) == []


@pytest.mark.usefixtures("small_structures")
@pytest.mark.parametrize("settings", STRUCTURES, ids=names)
def test_filters_of_approximate_search(
    tmp_path: Path, minilm: Any, settings: DenseSettings
) -> None:
    documents, queries = minilm
    segment = made(tmp_path / "s", documents, settings)
    n = len(documents)
    rng = np.random.default_rng(1)
    much = 64 if settings.kind == "hnsw" else 12
    for inside in (None, range(200, 900), range(1300, 1400), range(700, 712)):
        for mask in (None, rng.random(n) < 0.5, rng.random(n) < 0.05, np.zeros(n, bool)):
            bits = None if mask is None else packed(mask)
            options: Any = {"allowed": bits, "inside": inside}
            exact = segment.search(queries[:30], 10, **options)
            found = segment.search(queries[:30], 10, effort=much, **options)
            for hits, wanted in zip(found, exact, strict=True):
                assert len(hits.rows) == len(wanted.rows)
                assert mask is None or mask[hits.rows].all()
                assert inside is None or all(row in inside for row in hits.rows.tolist())
            assert not len(exact[0].rows) or recall(found, exact) > 0.97


def test_narrow_windows_are_searched_exactly(tmp_path: Path, monkeypatch: Any, minilm: Any) -> None:
    pytest.importorskip("faiss", reason="needs faiss-cpu (extra hybrid)")
    monkeypatch.setattr(dense_ann, "_LEAST", {"flat": 0, "hnsw": 10, "ivf-pq": 10})
    documents, queries = minilm
    segment = made(tmp_path / "s", documents, DenseSettings("hnsw"))
    exact = segment.search(queries, 10, inside=range(300, 500))
    found = segment.search(queries, 10, inside=range(300, 500), effort=1)
    assert [h.rows.tolist() for h in found] == [h.rows.tolist() for h in exact]


def test_small_segments_are_flat_and_need_no_faiss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: Any
) -> None:
    documents, queries = minilm
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it fails
    for settings in STRUCTURES:
        segment = made(tmp_path / names(settings), documents[:500], settings)
        assert segment.built == "flat"
        exact = segment.search(queries[:5], 10)
        found = segment.search(queries[:5], 10, effort=3)
        assert [h.rows.tolist() for h in found] == [h.rows.tolist() for h in exact]
    monkeypatch.setattr(dense_ann, "_LEAST", {"flat": 0, "hnsw": 10, "ivf-pq": 10})
    with pytest.raises(MissingExtraError, match=r"sparseret\[hybrid\]"):
        made(tmp_path / "x", documents, DenseSettings("hnsw"))
    assert not (tmp_path / "x").exists()
    with pytest.raises(MissingExtraError):
        dense_ann.require_faiss(DenseSettings("ivf-pq"))
    dense_ann.require_faiss(DenseSettings())


@pytest.mark.usefixtures("small_structures")
@pytest.mark.parametrize("settings", STRUCTURES, ids=names)
def test_a_merge_of_structures_is_a_rebuild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: Any, settings: DenseSettings
) -> None:
    monkeypatch.setattr(dense_ann, "_ADDED", 128)
    documents = minilm[0]
    live = np.random.default_rng(2).random(700) < 0.8
    parts = [made(tmp_path / "a", documents[:300], settings)]
    parts.append(made(tmp_path / "b", documents[300:700], settings, 900))
    masks = [live[:300], live[300:]]
    told = merge_dense(list(zip(parts, masks, strict=True)), tmp_path / "merged", settings)
    numbers = np.arange(0, 2100, 3)[live]
    vectors = documents[:700][live]
    assert write_dense_segment(tmp_path / "again", numbers, vectors, settings) == told
    assert (tmp_path / "merged").read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.usefixtures("small_structures")
@pytest.mark.parametrize("kind", ["hnsw", "ivf-pq"])
def test_damaged_structures_are_found_before_faiss_reads_them(tmp_path: Path, kind: Any) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((400, 8)).astype(np.float32)
    settings = DenseSettings(kind, m=4, n_lists=4, code_bytes=2)
    path = tmp_path / "s"
    size, crc = write_dense_segment(path, np.arange(400), vectors, settings)
    damage(path, size, crc, 997)
    segment = read_dense_segment(path, size=size, header_crc=crc)
    sound = path.read_bytes()
    begin = sound.index(segment.file.structure.tobytes())
    path.write_bytes(sound[:begin] + b"\xff" * 50 + sound[begin + 50 :])
    segment = read_dense_segment(path, size=size, header_crc=crc)
    with pytest.raises(CorruptIndexError, match="structure"):
        segment.search(vectors[:2], 3, effort=8)
    # Damaged vectors are found by verification alone, but harm no search.
    values = np.frombuffer(sound, np.float32, 400 * 8, size - 400 * 8 * 4).copy()
    values[rng.random(len(values)) < 0.2] = np.nan
    path.write_bytes(sound[: -values.nbytes] + values.tobytes())
    segment = read_dense_segment(path, size=size, header_crc=crc)
    assert len(segment.search(vectors, 3, effort=8)) == 400
    assert len(segment.search(vectors, 3)) == 400
    assert verify_dense_segment(segment) != []
