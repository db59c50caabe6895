"""Vector quantisation: nearest entries, and digits found again by the entries they share."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import Document, Retriever
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.quantiser_training import QuantiserTrainer
from sparseret.encoders.vector_quantiser import Quantisation, VectorQuantiser
from sparseret.errors import ConfigurationError, VectorError
from sparseret.protocols import Codec

KINDS: list[Quantisation] = ["product", "residual"]


def gaussian(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [10, 7])
def test_codes_are_the_nearest_entries(kind: Quantisation, width: int) -> None:
    x = gaussian(200, width)
    codec = QuantiserTrainer(3, 8, kind=kind).fit(x).codec
    assert isinstance(codec, Codec)
    codes = codec.transform(x).toarray()
    assert codes.shape == (200, 24)
    assert (codes.reshape(200, 3, 8).sum(axis=2) == 1).all()
    left = x.astype(float)
    begin = 0
    for c in range(3):
        size = width if kind == "residual" else width // 3 + (c < width % 3)
        place = slice(0, width) if kind == "residual" else slice(begin, begin + size)
        begin += size
        gaps = np.sum((left[:, None, place] - codec.entries[c, :, :size]) ** 2, axis=2)
        chosen = codes[:, c * 8 : c * 8 + 8].argmax(axis=1)
        np.testing.assert_allclose(gaps[np.arange(200), chosen], gaps.min(axis=1), rtol=1e-4)
        if kind == "residual":
            left -= codec.entries[c][chosen]
    made = codec.inverse_transform(codec.transform(x))
    if kind == "residual":
        np.testing.assert_allclose(made, x - left, atol=1e-5)
    assert np.linalg.norm(made - x) < 0.8 * np.linalg.norm(x)


@pytest.mark.parametrize("kind", KINDS)
def test_more_entries_reconstruct_better(kind: Quantisation) -> None:
    x = gaussian(600, 12)
    errors = []
    for m, n in ((1, 4), (1, 32), (4, 32)):
        codec = QuantiserTrainer(m, n, kind=kind).fit(x).codec
        errors.append(np.linalg.norm(codec.inverse_transform(codec.transform(x)) - x))
    assert errors == sorted(errors, reverse=True)


def test_clusters_are_found() -> None:
    centres = 10 * gaussian(16, 6)
    members = np.repeat(np.arange(16), 50)
    x = centres[members] + 0.1 * gaussian(800, 6, seed=1)
    codec = QuantiserTrainer(1, 16).fit(x).codec
    columns = codec.transform(x).indices
    assert len(set(zip(members, columns, strict=True))) == 16
    np.testing.assert_allclose(codec.spreads, [0.06], rtol=0.15)  # 6 features of variance 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_several_assignments(kind: Quantisation, tmp_path: Path) -> None:
    x = gaussian(150, 8)
    one = QuantiserTrainer(2, 10, kind=kind).fit(x).codec
    three = one.with_assignments(3)
    single, several = one.transform(x).toarray(), three.transform(x).toarray()
    assert ((several > 0).sum(axis=1) == 6).all()
    assert (several[single == 1] == 1).all()
    assert ((several > 0) & (several <= 1) == (several != 0)).all()
    assert one.space != three.space
    three.save(tmp_path / "vq")
    again = load_codec(tmp_path / "vq")
    assert (again.space, again.description) == (three.space, three.description)
    np.testing.assert_array_equal(again.transform(x).toarray(), several)
    # The weights are the kernel's: by hand for one vector and codebook.
    gaps = np.sort(np.sum((x[0, : three.entries.shape[2]] - three.entries[0]) ** 2, axis=1))[:3]
    weights = np.exp(-(gaps - gaps[0]) / (2 * three.spreads[0]))
    np.testing.assert_allclose(np.sort(several[0, :10])[:-4:-1], weights, rtol=1e-4)


def test_empty_vectors_and_blocks() -> None:
    x = gaussian(50, 6)
    x[10] = 0
    codec = QuantiserTrainer(2, 5).fit(x).codec
    codes = codec.transform(x)
    assert codes.indptr[11] == codes.indptr[10]
    assert not codec.inverse_transform(codes)[10].any()
    np.testing.assert_array_equal(codec.transform(x[20:23]).toarray(), codes.toarray()[20:23])
    assert codec.transform(x[:0]).shape == (0, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_follows_new_vectors(kind: Quantisation) -> None:
    x = gaussian(400, 6)
    trainer = QuantiserTrainer(2, 8, kind=kind).partial_fit(x[:50])
    other = x[50:] + 3

    def error() -> float:
        codec = trainer.codec
        return float(np.linalg.norm(codec.inverse_transform(codec.transform(other)) - other))

    before = error()
    for begin in range(0, 350, 70):
        trainer.partial_fit(other[begin : begin + 70])
    assert error() < 0.8 * before
    with pytest.raises(VectorError, match="5 features, and those before 6"):
        trainer.partial_fit(x[:, :5])


def test_same_seed_same_codebooks(tmp_path: Path) -> None:
    x = gaussian(3000, 6)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")  # 256 vectors an entry are drawn
    spaces = [
        QuantiserTrainer(2, 8, seed=seed).fit(source).codec.space
        for source, seed in ((x, 0), (mapped, 0), (x, 1))
    ]
    assert spaces[0] == spaces[1] != spaces[2]


def test_slices_without_variation() -> None:
    x = np.concatenate([gaussian(60, 4), np.zeros((60, 4), np.float32)], axis=1)
    codec = QuantiserTrainer(2, 8, assignments=2).fit(x).codec
    assert np.isfinite(codec.transform(x).data).all()


def test_bad_input() -> None:
    with pytest.raises(ConfigurationError, match="learned nothing"):
        _ = QuantiserTrainer(2, 4).codec
    with pytest.raises(VectorError, match="3 distinct vectors cannot make 4 entries"):
        QuantiserTrainer(1, 4).fit(np.repeat(np.eye(3), 9, axis=0))
    with pytest.raises(ConfigurationError, match="4 codebooks cannot part 3 features"):
        QuantiserTrainer(4, 2).fit(np.eye(3))
    with pytest.raises(VectorError, match="NaN"):
        QuantiserTrainer(1, 2).fit([[1.0, 2], [np.nan, 1], [2, 2]])
    with pytest.raises(ConfigurationError, match="kind 'tree' is not one of product, residual"):
        QuantiserTrainer(1, 2, kind="tree")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="assignments must be from 1 to 2"):
        QuantiserTrainer(1, 2, assignments=3)
    with pytest.raises(VectorError, match="does not fit product quantisation of 7 features"):
        VectorQuantiser(np.zeros((2, 4, 3)), [1, 1], n_features=7)
    with pytest.raises(VectorError, match="spreads must be 2 numbers"):
        VectorQuantiser(np.zeros((2, 4, 3)), [1], n_features=6)
    with pytest.raises(VectorError, match="not finite"):
        VectorQuantiser(np.full((2, 4, 3), np.nan), [1, 1], n_features=6)


# --- shared entries as feedback -----------------------------------------------------------------


class Images:
    """An encoder whose texts are numbers of images."""

    name = "images"
    options: dict[str, Any] = {}  # noqa: RUF012
    description = "images"
    signed = False

    def __init__(self, codec: VectorQuantiser, images: NDArray[np.float32]) -> None:
        self.codec = codec
        self.images = images
        self.dim = codec.dim
        self.space = codec.space

    def encode_documents(self, documents: Any, *, show_progress: bool = False) -> Any:
        return self.codec.transform(self.images[[int(document.text) for document in documents]])

    def encode_queries(self, queries: Any, *, show_progress: bool = False) -> Any:
        return self.codec.transform(self.images[[int(query) for query in queries]])

    def term(self, column: int) -> str:
        return str(column)

    def save(self, path: str | Path) -> None:
        raise NotImplementedError


def test_several_examples_of_a_digit_find_it_better_than_one(
    collections: Path, tmp_path: Path
) -> None:
    images, labels = (
        collections / "mnist" / f"t10k-{name}-ubyte.gz" for name in ("images-idx3", "labels-idx1")
    )
    if not images.exists():
        pytest.skip(f"no {images}")
    pixels = np.frombuffer(gzip.decompress(images.read_bytes())[16:], np.uint8)
    x = pixels.reshape(-1, 784)[:2500].astype(np.float32) / 255
    digits = np.frombuffer(gzip.decompress(labels.read_bytes())[8:], np.uint8)[:2500]
    codec = QuantiserTrainer(8, 32, iterations=10).fit(x[1500:]).codec
    rng = np.random.default_rng(0)
    with Retriever.create(tmp_path / "i", Images(codec, x)) as retriever:
        retriever.add(Document(str(i), str(i)) for i in range(1500))
        retriever.commit()
        found = {1: [], 5: [], 10: []}  # type: dict[int, list[float]]
        for digit in np.repeat(np.arange(10), 4):
            examples = rng.choice(np.flatnonzero(digits[:1500] == digit), 10, replace=False)
            for n in found:
                like = [str(i) for i in examples[:n]]
                hits = retriever.search(like=like, k=20)
                assert not {hit.id for hit in hits} & {*like}
                found[n].append(np.mean([digits[int(hit.id)] == digit for hit in hits]))
    precision = {n: float(np.mean(values)) for n, values in found.items()}
    assert precision[1] + 0.1 < precision[5] < precision[10]
    assert precision[10] > 0.75
