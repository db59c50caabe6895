"""Codes whose columns have names: find by them, read why, and train them on pairs.

Needs torch for the training. Vectors are generated here, each of three subjects and of much that
has no name; with a dense model, `sparseret train concepts` does all of this for texts.
"""

from __future__ import annotations

import numpy as np

from sparseret.encoders.concept_training import ConceptTrainer
from sparseret.encoders.concepts import ConceptCodec

NAMES = ("aerofoils", "buckling", "combustion", "drag", "flutter", "heat", "ionisation", "jets",
         "lift", "noise", "shock waves", "turbulence")  # fmt: skip
WIDTH, N = 48, 1200

rng = np.random.default_rng(0)
axes = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
subjects, unnamed = axes[: len(NAMES)], axes[len(NAMES) :]
about = np.zeros((N, len(NAMES)), bool)
for row in about:
    row[rng.choice(len(NAMES), 3, replace=False)] = True


def view() -> np.ndarray:
    """Vectors of one text each about these subjects."""
    return about @ subjects + 0.7 * rng.standard_normal((N, len(unnamed))) @ unnamed


documents, questions = view(), view()
# The vector of a name has more in it than what the name stands for.
of_names = subjects + 0.2 * rng.standard_normal((len(NAMES), len(unnamed))) @ unnamed

start = ConceptCodec(of_names, NAMES, k=3).fit(np.concatenate([documents, questions]))
trainer = ConceptTrainer(start, "gumbel", epochs=5, batch_size=100)
trained = trainer.fit(questions[:1000], documents[:1000]).codec

for title, codec in (("by their names alone", start), ("trained", trained)):
    codes = codec.transform(documents[1000:]).toarray() > 0
    right = (codes & about[1000:]).sum() / codes.sum()
    print(f"{title}: {right:.0%} of the concepts in codes of other documents are right")
print(f"cosine of concepts with their names: {trainer.fidelity().mean():.2f}")

query, codes = trained.transform(questions[1000:1001]), trained.transform(documents[1000:])
scores = (query @ codes.T).toarray()[0]
best = int(scores.argmax())
shared = query.multiply(codes[[best]]).tocoo()
told = ", ".join(
    f"{trained.names[j]} {v:.2f}" for j, v in zip(shared.col, shared.data, strict=True)
)
print(f"question 0 finds document {best}, score {scores[best]:.2f}: {told}")
