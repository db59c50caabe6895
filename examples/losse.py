"""Learn a curve from points that come one by one, in order: nothing is seen twice, or forgotten."""

import numpy as np

from sparseret.encoders.losse import Losse
from sparseret.encoders.online_ridge import OnlineRidge


def main() -> None:
    points = np.linspace(-3, 3, 400, dtype=np.float32)[:, None]
    values = np.sin(3 * points[:, 0]) + 0.3 * points[:, 0]
    codec = Losse(1, groups=20, bins=32, directions=1).fit(points)
    codes = codec.transform(points)
    print(f"{codes.nnz // len(points)} of {codec.dim} cells a point")

    ridge = OnlineRidge(codec.dim, alpha=1e-3)
    for first in range(0, 400, 100):
        for row in range(first, first + 100):
            ridge.partial_fit(codes[[row]], values[row : row + 1])
        seen = slice(0, first + 100)
        error = np.abs(ridge.predict(codes[seen])[:, 0] - values[seen]).max()
        print(f"{ridge.n_seen} points seen: largest error on them {error:.3f}")

    order = np.arange(400)[::-1]
    whole = OnlineRidge(codec.dim, alpha=1e-3).partial_fit(codes[order], values[order])
    apart = np.abs(whole.predict(codes) - ridge.predict(codes)).max()
    print(f"all at once, in reverse order: the same within {10.0 ** np.ceil(np.log10(apart)):.0e}")


if __name__ == "__main__":
    main()
