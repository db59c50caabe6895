"""Options of benchmarks that search windows of documents."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_window_options"]


def add_window_options(parser: argparse.ArgumentParser) -> None:
    """Say how many windows are searched, how large, how often, and where results go."""
    parser.add_argument("--queries", type=int, default=100, help="at each size (default 100)")
    parser.add_argument(
        "--windows", type=int, default=20, help="random windows of each size (default 20)"
    )
    parser.add_argument(
        "--smallest", type=int, default=16, metavar="E",
        help="windows from 2**-E of the corpus (default 16)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=10.0,
        help="of one method at one size; slower ones are put fewer queries (default 10)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="a folder")
