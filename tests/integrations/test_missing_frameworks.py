"""Without its framework, an integration says how to install it."""

from __future__ import annotations

import importlib
import sys

import pytest

from sparseret.errors import MissingExtraError

MODULES = {
    "haystack": "haystack",
    "beir": "beir.retrieval.search",
    "mteb": "mteb.models.model_meta",
    "pyterrier": "pyterrier",
    "sentence_transformers": "sentence_transformers.sentence_transformer.evaluation",
}


@pytest.mark.parametrize("name", MODULES)
def test_the_error_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    for loaded in [m for m in sys.modules if m.startswith(f"sparseret.integrations.{name}")]:
        monkeypatch.delitem(sys.modules, loaded)
    extra = name.replace("_", "-")
    with pytest.raises(MissingExtraError, match=rf"pip install 'sparseret\[{extra}\]'"):
        importlib.import_module(f"sparseret.integrations.{name}")
