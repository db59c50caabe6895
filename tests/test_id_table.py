"""Ids by number: kept in a table, or read anew where the range of numbers is too wide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparseret.documents import Document
from sparseret.errors import CorruptIndexError
from sparseret.indexers import id_table
from sparseret.indexers.id_table import IdTable
from sparseret.retriever import Retriever


@pytest.mark.parametrize("most", [2**23, 3])
def test_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(id_table, "_MAX_KEPT", most)
    with Retriever.create(tmp_path / "i") as retriever:
        retriever.add(Document(f"d{i}", "text") for i in range(10))
        retriever.commit()
        table = IdTable(retriever.index.snapshot.catalog, first=0, last=9)
        for numbers in ([], [3], [9, 0, 3, 3], [0, 1, 2, 3, 4]):
            for _ in range(2):  # read, then kept
                got = table.ids(np.array(numbers, dtype=np.int64))
                assert got == [f"d{number}" for number in numbers]
        for numbers in ([10], [-1], [2, 2**62]):
            with pytest.raises(CorruptIndexError, match="verify"):
                table.ids(np.array(numbers, dtype=np.int64))
