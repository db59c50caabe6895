"""k-sparse autoencoders: codes against their formula, training against what it is to reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparseret import kernels
from sparseret.encoders.autoencoder_batches import ranking_gradients, shuffled_batches
from sparseret.encoders.autoencoder_recipes import RECIPES, Recipe
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.encoders.codecs import load_codec
from sparseret.encoders.sparse_autoencoder import AutoencoderWeights, SparseAutoencoder
from sparseret.errors import ConfigurationError, VectorError

DIM, WIDTH, ACTIVE = 96, 24, 3


def weights(seed: int = 0, **more: Any) -> AutoencoderWeights:
    rng = np.random.default_rng(seed)
    return AutoencoderWeights(
        rng.standard_normal((DIM, WIDTH)), rng.standard_normal(WIDTH), rng.standard_normal(DIM),
        **more,
    )  # fmt: skip


def mixtures(n: int = 3000, seed: int = 0) -> NDArray[np.float32]:
    """Sums of a few of DIM directions."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).standard_normal((DIM, WIDTH))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    made = np.zeros((n, WIDTH))
    for row in made:
        chosen = rng.choice(DIM, ACTIVE, replace=False)
        row += rng.uniform(0.5, 1.5, ACTIVE) @ directions[chosen]
    return made.astype(np.float32)


# --- codes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("k", [1, 5, DIM])
def test_codes_are_the_largest_affinities(activation: Any, normalize: bool, k: int) -> None:
    codec = SparseAutoencoder(weights(), k, activation=activation, normalize=normalize)
    inputs = np.random.default_rng(1).standard_normal((40, WIDTH)).astype(np.float32)
    w, x = weights(), inputs.astype(np.float64)
    if normalize:
        x = x - x.mean(axis=1, keepdims=True)
        x /= x.std(axis=1, ddof=1, keepdims=True) + 1e-5
    affinities = (x - w.pre_bias) @ w.encoder.T + w.latent_bias
    least = np.sort(affinities, axis=1)[:, -k][:, None]
    want = np.where(affinities >= least, affinities, 0)
    if activation == "relu":
        want = np.maximum(want, 0)
    codes = codec.transform(inputs)
    np.testing.assert_allclose(codes.toarray(), want, atol=1e-4)
    assert np.diff(codes.indptr).max() <= k
    assert codec.signed == (activation == "linear")
    assert codes.has_sorted_indices
    made = codec.inverse_transform(codes)
    np.testing.assert_allclose(made, want @ w.encoder + w.pre_bias, atol=1e-3)


def test_thresholds_in_place_of_k() -> None:
    thresholds = np.linspace(-1, 6, DIM)
    codec = SparseAutoencoder(weights(thresholds=thresholds), 5)
    inputs = np.random.default_rng(1).standard_normal((40, WIDTH)).astype(np.float32)
    affinities = codec.affinities(inputs)
    want = np.where(affinities > np.maximum(thresholds, 0), affinities, 0)
    np.testing.assert_array_equal(codec.transform(inputs).toarray(), want.astype(np.float32))
    assert np.diff(codec.with_k(2).transform(inputs).indptr).max() == 2


def test_blocks_and_files_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparseret.encoders import sparse_autoencoder

    inputs = np.random.default_rng(1).standard_normal((40, WIDTH)).astype(np.float32)
    inputs[7] = 0
    codec = SparseAutoencoder(weights(), 5)
    whole = codec.transform(inputs).toarray()
    assert not whole[7].any()
    np.save(tmp_path / "x.npy", inputs)
    monkeypatch.setattr(sparse_autoencoder, "_BLOCK_VALUES", 3 * DIM)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_allclose(codec.transform(mapped).toarray(), whole, rtol=1e-5)
    assert codec.transform(inputs[:0]).shape == (0, DIM)


def test_projected_queries_rank_as_reconstructions_do() -> None:
    codec = SparseAutoencoder(weights(decoder=np.random.default_rng(3).random((DIM, WIDTH))), 6)
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((40, WIDTH)).astype(np.float32)
    query = np.abs(rng.standard_normal((1, WIDTH))).astype(np.float32)  # all products positive
    codes = codec.transform(inputs)
    scores = (codec.project(query, DIM) @ codes.T).toarray()[0]
    wanted = (codec.inverse_transform(codes) @ query[0]) - codec.weights.pre_bias @ query[0]
    np.testing.assert_allclose(scores, wanted, rtol=1e-3)


def test_refitted_values_are_those_of_least_squares() -> None:
    from scipy.optimize import nnls

    codec = SparseAutoencoder(weights(decoder=np.random.default_rng(3).random((DIM, WIDTH))), 6)
    again = codec.refitted()
    inputs = np.random.default_rng(1).standard_normal((300, WIDTH)).astype(np.float32) * 5
    first, codes = codec.transform(inputs), again.transform(inputs)
    errors = [
        ((inputs - codec.inverse_transform(made)) ** 2).sum(axis=1) for made in (first, codes)
    ]
    assert (errors[1] <= errors[0] * (1 + 1e-5)).all()
    assert errors[1].mean() < 0.9 * errors[0].mean()
    columns = kernels.top_k(codec.affinities(inputs), 6).columns
    for row in range(300):
        chosen = codec.weights.dictionary[columns[row]].astype(np.float64)
        _, least = nnls(chosen.T, (inputs[row] - codec.weights.pre_bias).astype(np.float64))
        assert errors[1][row] == pytest.approx(least**2, rel=2e-2, abs=1e-3)
    assert (codes.data > 0).all()
    assert again.space != codec.space
    with pytest.raises(ConfigurationError, match="refit=True goes with"):
        SparseAutoencoder(weights(), 4, activation="linear", refit=True)


def test_saved_and_loaded(tmp_path: Path) -> None:
    codec = SparseAutoencoder(weights(decoder=np.ones((DIM, WIDTH))), 4, normalize=True)
    codec.save(tmp_path / "codec")
    again = load_codec(tmp_path / "codec")
    assert isinstance(again, SparseAutoencoder)
    assert again.space == codec.space != codec.with_k(5).space
    inputs = np.random.default_rng(1).standard_normal((9, WIDTH))
    np.testing.assert_array_equal(
        again.transform(inputs).toarray(), codec.transform(inputs).toarray()
    )
    file = next((tmp_path / "codec").iterdir())
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="was altered"):
        load_codec(tmp_path / "codec")
    file.write_bytes(content[:50])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_codec(tmp_path / "codec")


def test_bad_input() -> None:
    codec = SparseAutoencoder(weights(), 4)
    with pytest.raises(VectorError, match="features"):
        codec.transform(np.ones((2, WIDTH + 1)))
    bad = np.ones((5, WIDTH))
    bad[3, 2] = np.nan
    with pytest.raises(VectorError, match="vector 3 holds NaN"):
        codec.transform(bad)
    for k in (0, DIM + 1, True, 2.0):
        with pytest.raises(ConfigurationError, match="k must be from 1"):
            SparseAutoencoder(weights(), k)  # type: ignore[arg-type]
    with pytest.raises(VectorError, match="latent_bias: shape"):
        AutoencoderWeights(np.ones((3, 2)), np.ones(2), np.ones(2))
    with pytest.raises(VectorError, match="not finite"):
        AutoencoderWeights(np.full((3, 2), np.inf), np.ones(2), np.ones(3))


# --- training -----------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    found = pytest.importorskip("torch", reason="torch is not installed")
    found.set_num_threads(1)
    return found


def trained(recipe: str | Recipe, **options: Any) -> tuple[AutoencoderTrainer, float]:
    """A trained autoencoder, and its squared error on other vectors by their variance."""
    given: dict[str, Any] = {"epochs": 12, "batch_size": 100, "learning_rate": 5e-3, **options}
    trainer = AutoencoderTrainer(DIM, ACTIVE, recipe, dead_after=2000, **given)
    inputs = mixtures()
    gradients = (
        inputs * np.float32(0.1) if isinstance(recipe, str) and recipe == "gradient" else None
    )
    codec = trainer.fit(inputs, gradients=gradients).codec
    others = mixtures(500, seed=1)
    made = codec.inverse_transform(codec.transform(others))
    return trainer, float(((others - made) ** 2).sum() / ((others - others.mean(0)) ** 2).sum())


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_learns(torch: Any, recipe: str) -> None:
    trainer, error = trained(recipe)
    start = trainer.history[0].reconstruction
    assert trainer.history[-1].reconstruction < 0.7 * start
    assert error < 0.6
    codes = trainer.codec.transform(mixtures(500, seed=1))
    used = np.bincount(codes.indices, minlength=DIM) > 0
    assert used.mean() > 0.9
    assert codes.nnz / 500 == pytest.approx(ACTIVE, rel=0.5)
    np.testing.assert_array_equal(  # the same again
        trained(recipe)[0].codec.weights.encoder, trainer.codec.weights.encoder
    )


def test_gradients_are_those_of_the_dense_computation(torch: Any) -> None:
    """What is computed for chosen entries only, against autograd over all of them."""
    from sparseret.encoders.autoencoder_steps import activations, choose_by_token, decode

    rng = np.random.default_rng(0)

    def leaf(*shape: int) -> Any:
        return torch.tensor(rng.standard_normal(shape), dtype=torch.float64, requires_grad=True)

    inputs, encoder, bias, dictionary = leaf(7, 5), leaf(11, 5), leaf(11), leaf(11, 5)
    target = torch.tensor(rng.standard_normal((7, 5)))
    affinities = inputs @ encoder.T + bias
    chosen = choose_by_token(affinities.detach().float(), 3)
    values = activations(affinities.detach(), inputs, encoder, bias, chosen).relu()
    loss = (decode(values, dictionary, chosen) - target).square().sum()
    leaves = (inputs, encoder, bias, dictionary)
    found = torch.autograd.grad(loss, leaves)
    mask = torch.zeros(7, 11, dtype=torch.float64)
    mask[chosen.rows, chosen.columns] = 1
    dense = (((affinities * mask).relu()) @ dictionary - target).square().sum()
    for one, other in zip(found, torch.autograd.grad(dense, leaves), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-10)


def test_the_auxiliary_loss_revives_latents(torch: Any) -> None:
    """Half of the latents begin so low that they are hardly ever chosen."""

    class Handicapped(AutoencoderTrainer):
        def _start(self, source: Any) -> None:
            super()._start(source)
            assert self._state is not None
            with torch.no_grad():
                self._state.latent_bias[::2] = -1

    inputs = mixtures()
    dead = []
    for auxiliary in ("none", "dead"):
        recipe = Recipe(auxiliary=auxiliary)  # type: ignore[arg-type]
        trainer = Handicapped(
            DIM, ACTIVE, recipe, epochs=15, batch_size=100, learning_rate=5e-3, dead_after=3000
        )
        codes = trainer.fit(inputs).codec.transform(inputs)
        dead.append((np.bincount(codes.indices, minlength=DIM)[::2] == 0).mean())
        assert trainer.history[-1].dead == pytest.approx(dead[-1] / 2, abs=0.05)
    assert dead[0] > 0.7
    assert dead[1] < 0.2


def test_mutual_and_feature_choice_spend_as_promised(torch: Any) -> None:
    from sparseret.encoders.autoencoder_steps import (
        choose_by_feature,
        choose_mutually,
        zipf_quotas,
    )

    scores = torch.tensor(np.random.default_rng(0).standard_normal((20, 30)), dtype=torch.float32)
    chosen = choose_mutually(scores, 3)
    assert len(chosen.rows) == 60
    picked = scores[chosen.rows, chosen.columns]
    assert picked.min() >= scores.flatten().sort(descending=True).values[59]
    quotas = zipf_quotas(torch.arange(30, 0, -1).float(), 60, 20)
    assert abs(int(quotas.sum()) - 60) <= 10
    assert (quotas.diff() <= 0).all()
    assert 1 <= int(quotas.min()) <= int(quotas.max()) <= 20
    chosen = choose_by_feature(scores, quotas)
    np.testing.assert_array_equal(np.bincount(chosen.columns, minlength=30), quotas)
    assert (chosen.rows.diff() >= 0).all()


def test_in_parts_and_from_a_file(torch: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", mixtures(1000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    options: dict[str, Any] = {"epochs": 2, "batch_size": 100}
    whole = AutoencoderTrainer(DIM, ACTIVE, "topk", **options).fit(mixtures(1000))
    file = AutoencoderTrainer(DIM, ACTIVE, "topk", **options).fit(mapped)
    np.testing.assert_array_equal(whole.codec.weights.encoder, file.codec.weights.encoder)
    trainer = AutoencoderTrainer(DIM, ACTIVE, "topk", batch_size=100, learning_rate=5e-3)
    for _ in range(5):
        for begin in range(0, 1000, 250):
            trainer.partial_fit(mapped[begin : begin + 250])
    errors = [step.reconstruction for step in trainer.history]
    assert len(errors) == 60
    assert np.mean(errors[-5:]) < 0.8 * np.mean(errors[:5])


def test_gradients_of_ranking(torch: Any) -> None:
    rng = np.random.default_rng(0)
    queries, documents = rng.standard_normal((4, 3)), rng.standard_normal((6, 3))
    positives = np.array([0, 2, 2, 5])
    known = torch.tensor(documents, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        torch.tensor(queries) @ known.T / 0.5, torch.tensor(positives), reduction="sum"
    )
    found = ranking_gradients(queries, documents, positives, temperature=0.5)
    np.testing.assert_allclose(found, torch.autograd.grad(loss, known)[0].numpy(), atol=1e-5)
    with pytest.raises(VectorError, match="numbers of documents"):
        ranking_gradients(queries, documents, [0, 1, 2, 6])


def test_each_vector_once_in_an_epoch() -> None:
    batches = list(shuffled_batches(150_000, 1024, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(150_000))
    assert {len(batch) for batch in batches[:-1]} == {1024}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 1}, "dim must be"),
        ({"k": 0}, "k must be"),
        ({"recipe": "best"}, "not one of"),
        ({"epochs": 0}, "epochs must be"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"recipe": Recipe(), "batch_size": 1}, "batch_size must be"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AutoencoderTrainer(**options)


def test_training_that_cannot_be(torch: Any) -> None:
    with pytest.raises(ConfigurationError, match="call fit"):
        _ = AutoencoderTrainer().codec
    with pytest.raises(ConfigurationError, match="latents with this recipe"):
        AutoencoderTrainer(10, 5, "csr").fit(mixtures(10))
    with pytest.raises(ConfigurationError, match="too few"):
        AutoencoderTrainer(10, 1, "topk").fit(mixtures(1))
    with pytest.raises(ConfigurationError, match="give gradients="):
        AutoencoderTrainer(10, 1, "gradient", epochs=1).fit(mixtures(10))
    with pytest.raises(VectorError, match="shape"):
        AutoencoderTrainer(10, 1, "topk").fit(mixtures(10), positives=mixtures(9))
    with pytest.raises(ConfigurationError, match="not one of"):
        Recipe(choice="any")  # type: ignore[arg-type]
