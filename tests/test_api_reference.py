"""The API reference is what the docstrings say, and its links go somewhere (tests/test_docs.py)."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import sparseret

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    pytest.importorskip("griffe", reason="griffelib is not installed (sparseret[docs])")
    spec = spec_from_file_location("api_reference", ROOT / "tools" / "api_reference.py")
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def pages(tool: ModuleType) -> dict[str, str]:
    made: dict[str, str] = tool.pages()
    return made


def test_it_is_up_to_date(pages: dict[str, str]) -> None:
    there = {f.name: f.read_text("utf-8") for f in (ROOT / "docs" / "api").glob("*.md")}
    assert there.keys() == pages.keys()
    for name, text in pages.items():
        assert there[name] == text, f"docs/api/{name}: run python tools/api_reference.py"


def test_it_has_every_public_name_and_what_each_takes(pages: dict[str, str]) -> None:
    own = pages["sparseret.md"]
    for name in sparseret.__all__:
        assert f"\n### `sparseret.{name}`\n" in own
    search = own.partition("#### `Retriever.search`")[2].partition("####")[0]
    assert "    rerank_depth: int = 100,\n" in search
    assert "\n- `k`: " in own
    assert "### `sparseret.encoders.splade.SpladeEncoder`" in pages["encoders.md"]
    assert "#### `InvertedIndex.delete`" in own  # of a base
    assert not [line for line in own.splitlines() if line.startswith("#") and "._" in line]


def test_it_is_markdown(pages: dict[str, str]) -> None:
    for name, text in pages.items():
        for role in (":class:`", ":meth:`", ":func:`", ":attr:`", ":mod:`", ":data:`", "``\n\n``"):
            assert role not in text, name
        assert text.count("```") % 2 == 0
        assert "None:" not in text.partition("```")[0]


def test_a_forgotten_change_is_told(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(tool, "FOLDER", tmp_path / "api")
    assert tool.main(["--check"]) == 1
    assert "run python tools/api_reference.py" in capsys.readouterr().err
    assert not (tmp_path / "api").exists()
    assert tool.main([]) == 0
    (tmp_path / "api" / "gone.md").write_text("# Gone")
    assert tool.main(["--check"]) == 1
    assert tool.main([]) == 0
    assert not (tmp_path / "api" / "gone.md").exists()
    assert tool.main(["--check"]) == 0


def test_sources_are_read_and_not_imported(tool: ModuleType) -> None:
    before = {name for name in sys.modules if name.startswith("sparseret.encoders")}
    tool.pages()
    assert {name for name in sys.modules if name.startswith("sparseret.encoders")} == before
