"""The rules of the house, checked on the sources: who may import whom, and what may not be written.

ROOMS is the order of the package, from the ground up: a module imports from its own room and from
those on lower floors, never from beside or above. This holds for imports inside functions and for
type checkers too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sparseret"

ROOMS: list[set[str]] = [
    {"published_weights", "errors", "progress", "tokenizing"},
    {"kernels", "documents", "linefile", "parquet_file", "sentences"},
    {"chunks", "vectors", "protocols", "document_fields", "analysis"},
    {"registry", "readers"},
    {"encoders", "indexers"},
    {"explanation", "feedback", "snippets"},
    {"views"},
    {"legs", "reranking"},
    {"retriever"},
    {"parents"},
    {"ingest", "eval", "train"},
    {"serve", "integrations", "exchange", "rag"},
    {"cli"},
]
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}

AT_IMPORT: dict[str, set[str]] = {
    "": {"numpy"},
    "cli": {"typer"},
    # A module of this room is imported by those who have its framework.
    "integrations": {
        "beir",
        "haystack",
        "langchain_core",
        "llama_index",
        "mcp",
        "mcp_types",
        "mteb",
        "pydantic",
        "pyterrier",
        "sentence_transformers",
    },
    "serve": {"fastapi", "pydantic", "starlette"},
}
"""What a room may import from outside the standard library before it is needed ("" for all)."""

LONG = {
    "encoders/bm25.py",
    "indexers/catalog.py",
    "indexers/inverted.py",
    "parents/retriever.py",
    "retriever.py",
}
"""Files of more than MOST_LINES lines, each one thing that would not gain from being cut."""
MOST_LINES = 400


class Import(NamedTuple):
    module: str
    """Full name, as "sparseret.vectors" or "numpy.typing"."""
    line: int
    at_import: bool
    """Whether it happens when the importing module is imported."""


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def imports(path: Path) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, at_import: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(a.name, child.lineno, at_import) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                module = child.module or ""
                for alias in child.names:
                    inner = f"{module}.{alias.name}"
                    own = module.split(".")[0] == "sparseret"
                    name = inner if own and is_module(inner) else module
                    found.append(Import(name, child.lineno, at_import))
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            visit(child, at_import and not inside and not checking)

    visit(ast.parse(path.read_text("utf-8")), True)
    return found


def handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            yield node


def test_the_plan_names_every_room() -> None:
    rooms = {room_of(path) for path in sources()} - {"__init__"}
    assert rooms == FLOORS.keys()
    assert sum(map(len, ROOMS)) == len(FLOORS)


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert [i for i in imports(path) if i.at_import and i.module.startswith("sparseret")] == []
        return
    for module, line, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "sparseret" or len(parts) == 1 or parts[1] == room:
            continue
        assert FLOORS[parts[1]] < FLOORS[room], f"{relative(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_heavy_packages_are_imported_where_they_are_needed(path: Path) -> None:
    allowed = {"sparseret", "__future__", *AT_IMPORT[""], *AT_IMPORT.get(room_of(path), ())}
    for module, line, at_import in imports(path):
        package = module.split(".")[0]
        if at_import and package not in sys.stdlib_module_names:
            assert package in allowed, f"{relative(path)}:{line} imports {module} at once"


def test_native_code_has_its_doors() -> None:
    doors = {
        relative(path)
        for path in sources()
        for found in imports(path)
        if found.module.startswith("sparseret.kernels._native")
        or "_native" in path.read_text("utf-8")
    }
    assert doors == {
        "kernels/__init__.py",
        "kernels/codes.py",
        "kernels/collection.py",
        "kernels/dense.py",
        "kernels/top_k.py",
        "kernels/random_projection.py",
        "kernels/sdr.py",
        "kernels/vocabulary_head.py",
    }


def test_encoders_are_known_by_name_only() -> None:
    """The registry and the retriever stay open to encoders they have never seen."""
    for name in ("registry.py", "retriever.py"):
        assert not [i for i in imports(PACKAGE / name) if "encoders" in i.module]


def test_importing_loads_nothing_slow() -> None:
    code = (
        "import sys, sparseret\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
        "import sparseret.retriever, sparseret.encoders.bm25\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tempfile.gettempdir(),  # not the sources: they lack the native module
    )
    first, second = (set(line.split()) for line in done.stdout.splitlines())
    installed = {*sys.stdlib_module_names, "sparseret", "__main__"}
    assert "numpy" not in first
    slow = {"scipy", "rich", "typer", "click", "ir_measures", "pandas", "matplotlib", "safetensors"}
    slow |= {"torch", "transformers", "numba", "faiss", "regex", "Stemmer", "filelock", "zstandard"}
    assert second & slow == set()
    assert "numpy" in second - installed


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_what_is_not_written_here(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    # Python drops assertions when it is asked to optimise: validation must not depend on them.
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []
    for handler in handlers(path):
        where = f"{relative(path)}:{handler.lineno}"
        assert handler.type is not None, f"{where}: a bare except"
        if {"Exception", "BaseException"} & set(ast.unparse(handler.type).strip("()").split(", ")):
            last = handler.body[-1]
            again = isinstance(last, ast.Raise) and last.exc is None
            assert again, f"{where}: catches everything and does not raise it again"


def test_files_are_short() -> None:
    lengths = {relative(path): path.read_text("utf-8").count("\n") for path in sources()}
    assert {name for name, length in lengths.items() if length > MOST_LINES} <= LONG
    assert lengths.keys() >= LONG
