"""Without its framework, an integration says what to install."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from sparseret.errors import MissingExtraError


@pytest.mark.parametrize(
    ("module", "framework", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("mcp", "mcp", "mcp"),
    ],
)
def test_without_the_framework(
    monkeypatch: pytest.MonkeyPatch, module: str, framework: str, extra: str
) -> None:
    name = f"sparseret.integrations.{module}"
    for loaded in [m for m in sys.modules if m == name or m.split(".")[0] == framework]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(MissingExtraError, match=f"sparseret\\[{extra}\\]"):
        import_module(name)
