"""Writes the API reference, docs/api/, from the docstrings of public names.

    python tools/api_reference.py             write the pages
    python tools/api_reference.py --check     only tell whether they are up to date (status 1: not)

Public are the names of ``sparseret.__all__``, those in ``__all__`` of the modules that define
these, and those of modules that pages of the documentation name, be it by the name of an encoder.
The sources are read by griffe (extra "docs") and not imported.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "api"
ROOMS = {
    "sparseret": "The names of the package itself",
    "core": "Retriever, documents, terms, errors",
    "encoders": "Encoders and codecs",
    "indexers": "Indexes",
    "reranking": "Re-ranking",
    "eval": "Evaluation",
    "train": "Training",
    "parents": "Chunks and parents",
    "rag": "Answers with evidence",
    "exchange": "Import and export",
    "integrations": "Frameworks of others",
    "serve": "HTTP service",
}
"""Page -> its title. Modules of no room are on the page "core"."""
FOR_CONTRIBUTORS = ("architecture.md", "benchmarks.md")
"""Pages that name modules whose names are not for users."""

_NAMED = re.compile(r"\bsparseret(?:\.[a-z_0-9]+)+")
_ROLE = re.compile(r":(?:class|meth|attr|func|mod|data|exc|obj):`(~?)([^`]+)`")
_SECTION = re.compile(
    r"(Args|Returns|Yields|Raises|Attributes|References|Example|Examples|Note):", re.A
)
_ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, [\w.]+)*): (.*)")
_NUMBERED = re.compile(r"\.\. \[(\d+)\] (.*)")
_WIDTH = 88


class Entry(NamedTuple):
    """A public name."""

    path: str
    """In full, as it is imported."""
    found: Any
    """What griffe knows of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or compare them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    made = pages()
    there = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*.md")}
    if made == there:
        return 0
    if check:
        print("docs/api is not up to date: run python tools/api_reference.py", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for name in there.keys() - made.keys():
        (FOLDER / name).unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


def pages() -> dict[str, str]:
    """Name and text of each page."""
    import griffe

    package: Any = griffe.load("sparseret", search_paths=[str(ROOT)], submodules=True)
    rooms: dict[str, list[Any]] = {room: [] for room in ROOMS}
    for module in named_modules(package):
        room = module.path.split(".")[1]
        rooms[room if room in ROOMS else "core"].append(module)
    own = [Entry(f"sparseret.{name}", _target(package[name])) for name in package.exports]
    anchors = {entry.found.path: f"sparseret.md#{_anchor(entry)}" for entry in own}
    for room, modules in rooms.items():
        for entry in (entry for module in modules for entry in entries(module)):
            anchors.setdefault(entry.found.path, f"{room}.md#{_anchor(entry)}")
    writer = Writer(anchors)
    made = {"sparseret.md": [ROOMS["sparseret"], *_lines(map(writer.entry, own))]}
    for room, modules in rooms.items():
        if modules:
            made[f"{room}.md"] = [ROOMS[room], *_lines(map(writer.module, modules))]
    index = ["API reference", "", "Made from docstrings by `python tools/api_reference.py`.", ""]
    for name, lines in made.items():
        listed = re.findall(r"^## `(.*)`$", "\n".join(lines), re.M)
        shown = ", ".join(f"`{path}`" for path in listed) or "what `import sparseret` offers"
        index.append(f"- [{lines[0]}]({name}): {shown}")
    made["index.md"] = index
    return {
        name: re.sub(r"\n{3,}", "\n\n", "# " + "\n".join(lines).strip() + "\n")
        for name, lines in made.items()
    }


def named_modules(package: Any) -> list[Any]:
    """Modules whose names are public, by their path."""
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/integrations/*.md")]
    files = [page for page in pages if page.name not in FOR_CONTRIBUTORS]
    texts = [file.read_text("utf-8") for file in [ROOT / "README.md", *files]]
    named = {path for text in texts for path in _NAMED.findall(text)}
    encoders = ast.literal_eval(str(package["registry.ENCODERS"].value))
    named |= {place.partition(":")[0] for place in encoders.values()}
    named |= {_target(package[name]).module.path for name in package.exports}
    found = set()
    for path in named:
        module: Any = package
        for part in path.split(".")[1:]:
            inner = module.members.get(part)
            if inner is None or not inner.is_module:
                break
            module = inner
        if module.exports and module is not package and not module.path.startswith("sparseret.cli"):
            found.add(module.path)
    return [package[path.partition(".")[2]] for path in sorted(found)]


def entries(module: Any) -> list[Entry]:
    """Public names of a module, in the order of the source."""
    found = [
        Entry(f"{module.path}.{name}", _target(module[name]))
        for name in module.exports
        if name in module.members and not _target(module[name]).is_module
    ]
    return sorted(found, key=lambda entry: (entry.found.lineno or 0, entry.path))


class Writer:
    """Makes Markdown of what griffe has found.

    Args:
        anchors: full name of what has a place of its own -> page and anchor.
    """

    def __init__(self, anchors: dict[str, str]) -> None:
        self._anchors = anchors

    def module(self, module: Any) -> Iterator[str]:
        """A heading, what the module is, and its names, those told of elsewhere as links."""
        yield from (f"## `{module.path}`", "", *self.text(module), "")
        for entry in entries(module):
            place = self._anchors[entry.found.path]
            if place.endswith(f"#{_anchor(entry)}"):
                yield from self.entry(entry)
            else:
                yield from (f"### `{entry.path}`", "", f"See [`{entry.found.name}`]({place}).", "")

    def entry(self, entry: Entry) -> Iterator[str]:
        """A public name, and what is public of a class."""
        found = entry.found
        yield from (f"### `{entry.path}`", "")
        if found.is_class:
            bases = [str(base) for base in found.bases]
            yield from _fenced(f"class {_call(found.name, found)}")
            if bases:
                yield from (f"Bases: {', '.join(f'`{base}`' for base in bases)}.", "")
            yield from (*self.text(found), "")
            yield from self.members(found)
        elif found.is_function:
            yield from _fenced(_function(found))
            yield from (*self.text(found), "")
        else:
            yield from _fenced(_assigned(found))
            yield from (*self.text(found), "")

    def members(self, found: Any) -> Iterator[str]:
        """Public attributes, as a list, and methods of a class."""
        every = {**found.inherited_members, **found.members}.values()
        public = [_target(m) for m in every if not m.name.startswith("_") and _is_own(m)]
        public.sort(key=lambda m: (m.parent.path != found.path, m.parent.path, m.lineno or 0))
        plain = [m for m in public if m.is_attribute and (m.docstring or m.annotation)]
        for member in plain:
            text = " ".join(line.strip() for line in self.text(member) if line.strip())
            kind = f" (`{member.annotation}`)" if member.annotation else ""
            yield f"- **{member.name}**{kind}" + (f": {text}" if text else "")
        yield ""
        for member in public:
            if member.is_function:
                yield from (f"#### `{found.name}.{member.name}`", "")
                yield from (*_fenced(_function(member)), *self.text(member), "")

    def text(self, found: Any) -> list[str]:
        """The docstring as Markdown."""
        if not found.docstring:
            return []
        made: list[str] = []
        section = ""
        block = table = False
        for line in cleandoc(found.docstring.value).splitlines():
            stripped, indent = line.strip(), len(line) - len(line.lstrip())
            if re.fullmatch(r"=+(  +=+)+", stripped):
                made += ["```text", line] if not table else [line]
                table = True
                continue
            if table and not stripped:
                made.append("```")
                table = False
            if table:
                made.append(line)
                continue
            if match := _SECTION.fullmatch(line):
                section = match[1]
                made += ["", f"**{'Arguments' if section == 'Args' else section}**", ""]
                continue
            if section and stripped and not indent:
                section = ""
            if block and stripped and indent < 4 + 4 * bool(section):
                block = False
            if block:
                made.append(line)
                continue
            made.append(self._line(line, stripped, indent, section))
            if stripped.endswith("::"):
                made[-1] = made[-1][:-1]
                block = True
        return [*made, "```"] if table else made

    def _line(self, line: str, stripped: str, indent: int, section: str) -> str:
        text = self._inline(stripped)
        if not section:
            return self._inline(line)
        if section == "References" and (match := _NUMBERED.fullmatch(stripped)):
            return f"{match[1]}. {self._inline(match[2])}"
        if section in ("Args", "Attributes", "Raises") and indent == 4:
            if match := _ITEM.fullmatch(stripped):
                names = ", ".join(f"`{name}`" for name in match[1].split(", "))
                return f"- {names}: {self._inline(match[2])}"
            if section == "Raises":
                return "- " + re.sub(r"\b\w+Error\b", r"`\g<0>`", text)
        return f"  {text}" if section in ("Args", "Attributes", "Raises") and text else text

    def _inline(self, text: str) -> str:
        """Roles as links or code, and code in one pair of backquotes."""

        def role(match: re.Match[str]) -> str:
            short, target = match[1], match[2]
            shown = (
                target.rpartition(".")[2] if short or target.startswith("sparseret.") else target
            )
            place = self._anchors.get(target)
            return f"[`{shown}`]({place})" if place else f"`{shown}`"

        text = _ROLE.sub(role, text)
        return re.sub(r"``([^`]+)``", r"`\1`", text).replace("]_", "]")


def _target(found: Any) -> Any:
    return found.final_target if found.is_alias else found


def _is_own(member: Any) -> bool:
    """Whether a member is defined in the class or a base, and not imported there."""
    return not member.is_alias or member.inherited


def _anchor(entry: Entry) -> str:
    """As GitHub makes it of the heading."""
    return re.sub(r"[^\w\- ]", "", entry.path.lower()).replace(" ", "-")


def _lines(parts: Any) -> Iterator[str]:
    for part in parts:
        yield ""
        yield from part


def _fenced(code: str) -> tuple[str, ...]:
    return ("```py", code, "```", "")


def _function(found: Any) -> str:
    before = [f"@{label}" for label in ("classmethod", "staticmethod") if label in found.labels]
    returned = f" -> {found.returns}" if found.returns is not None else ""
    return "\n".join([*before, f"def {_call(found.name, found)}{returned}"])


def _call(name: str, found: Any) -> str:
    """A name with its parameters, in one line where they fit."""
    if found.is_class and not found.parameters:
        return name
    parts, starred = [], False
    for parameter in found.parameters:
        kind = parameter.kind.value
        if parameter.name in ("self", "cls"):
            continue
        if kind == "keyword-only" and not starred:
            parts.append("*")
        starred |= kind in ("keyword-only", "variadic positional")
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        text = stars + parameter.name
        if parameter.annotation is not None:
            text += f": {parameter.annotation}"
        if parameter.default is not None and not stars:
            text += f" = {parameter.default}" if parameter.annotation else f"={parameter.default}"
        parts.append(text)
    line = f"{name}({', '.join(parts)})"
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{inner})"


def _assigned(found: Any) -> str:
    kind = f": {found.annotation}" if found.annotation is not None else ""
    value = str(found.value) if found.value is not None else ""
    return f"{found.name}{kind}" + (f" = {value}" if value and len(value) <= _WIDTH else "")


if __name__ == "__main__":
    sys.exit(main())
