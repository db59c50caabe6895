"""Where the tests find data: a bundled corpus, and larger collections if they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def cranfield() -> Path:
    """The bundled corpus, a folder in BEIR's layout."""
    return ROOT / "sparseret" / "data" / "cranfield"


@pytest.fixture(scope="session")
def collections() -> Path:
    """Folder of larger collections: SPARSERET_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("SPARSERET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no collections at {folder}: set SPARSERET_DATA to a folder of BEIR folders")
    return folder
