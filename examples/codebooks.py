"""Index dense vectors by the codebook entries that are nearest to them, and search by examples."""

import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from sparseret import InvertedIndex
from sparseret.encoders.quantiser_training import QuantiserTrainer

N_CLASSES = 20


def main() -> None:
    # Vectors of 20 classes that overlap; any dense vectors will do.
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((N_CLASSES, 64))
    labels = rng.integers(0, N_CLASSES, 4000)
    vectors = centres[labels] + 1.6 * rng.standard_normal((4000, 64))

    codec = QuantiserTrainer(16, 32, seed=0).fit(vectors).codec
    codes = codec.transform(vectors)
    print(codec.description)

    with (
        tempfile.TemporaryDirectory() as temporary,
        InvertedIndex.create(
            Path(temporary) / "codes.idx", space=codec.space, dim=codec.dim
        ) as index,
    ):
        index.add([str(i) for i in range(4000)], codes)
        index.commit()
        print("share of the first 20 documents that are of the class of the examples")
        for n in (1, 5, 10):
            queries, wanted = [], []
            for label in range(N_CLASSES):
                examples = np.flatnonzero(labels == label)[:n]
                queries.append(codes[examples].sum(axis=0))
                wanted.append({str(i) for i in examples})
            hits = index.search(csr_array(np.array(queries)), k=20 + n)
            shares = []
            for label, (ids, known) in enumerate(zip(hits.ids, wanted, strict=True)):
                others = [int(id) for id in ids if id not in known][:20]
                shares.append(np.mean(labels[others] == label))
            print(f"{n:3d} {'examples' if n > 1 else 'example'}: {np.mean(shares):.2f}")


if __name__ == "__main__":
    main()
