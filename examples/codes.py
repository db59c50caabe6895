"""Sparse codes of dense vectors: train an autoencoder, rate it, search with its codes.

Needs torch. The vectors are generated, mixtures of a few topics each; with a dense model,
`sparseret train autoencoder` does all of this for texts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from sparseret import InvertedIndex
from sparseret.encoders.autoencoder_training import AutoencoderTrainer
from sparseret.eval.code_card import rate_codes

N_TOPICS, WIDTH = 60, 32

rng = np.random.default_rng(0)
topics = rng.standard_normal((N_TOPICS, WIDTH))
mixed = np.array([rng.choice(N_TOPICS, 3, replace=False) for _ in range(3000)])
vectors = (topics[mixed].sum(axis=1) + 0.1 * rng.standard_normal((3000, WIDTH))).astype(np.float32)

trainer = AutoencoderTrainer(120, k=4, recipe="topk", epochs=10, batch_size=100, learning_rate=5e-3)
codec = trainer.fit(vectors[:2500]).codec
card = rate_codes(codec, vectors[2500:])
print(f"{card.nnz:.1f} of {card.dim} latents explain {card.explained_variance:.0%} of the variance")

with (
    tempfile.TemporaryDirectory() as folder,
    InvertedIndex.create(
        Path(folder, "index"), space=codec.space, dim=codec.dim, signed=codec.signed
    ) as index,
):
    index.add([str(number) for number in range(len(vectors))], codec.transform(vectors))
    index.commit()
    hits = index.search(codec.transform(vectors[:1]), k=3)
for id, score in zip(hits.ids[0], hits.scores[0], strict=True):
    shared = {*mixed[0]} & {*mixed[int(id)]}
    print(f"{id}: {score:.2f}, {len(shared)} topics in common with the query's")
