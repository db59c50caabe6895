"""Public text out of Debian's archive: descriptions of packages, and files that packages ship.

Works with ``apt-get`` and ``dpkg-deb`` as any user: lists and packages are kept in a folder of
their own, and nothing is installed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sparseret.errors import DatasetError

__all__ = ["Debian", "Description"]


class Description(NamedTuple):
    """What the archive says of one package."""

    package: str
    short: str
    long: str
    """Paragraphs separated by newlines; words within one separated by single spaces."""


class Debian:
    """The archive that this system's apt sources name.

    Args:
        folder: where lists and packages are kept; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        for part in ("lists/partial", "cache/archives/partial", "packages"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)

    def descriptions(self) -> Iterator[Description]:
        """English descriptions, each package once, in the order of their names."""
        found: dict[str, Description] = {}
        for file in self._translations():
            for record in _run(["/usr/lib/apt/apt-helper", "cat-file", file]).split("\n\n"):
                description = _parse_description(record)
                if description is not None:
                    found.setdefault(description.package, description)
        for package in sorted(found):
            yield found[package]

    def unpack(self, package: str, folder: Path) -> str:
        """Unpack a package's files into a folder, and give its version.

        Raises:
            DatasetError: apt does not find or reach it.
        """
        self._translations()  # apt's lists, at the first use
        packages = self._folder / "packages"
        pattern = f"{package}_*.deb"
        if not any(packages.glob(pattern)):
            _run(["apt-get", "-qq", *self._options(), "download", package], packages)
        file = max(packages.glob(pattern))
        _run(["dpkg-deb", "-x", file, folder])
        return file.name.split("_")[1].replace("%3a", ":")

    def _translations(self) -> Sequence[Path]:
        lists = self._folder / "lists"
        pattern = "*_Translation-en*"
        if not any(lists.glob(pattern)):
            _run(["apt-get", "-qq", *self._options(), "-o", "Acquire::Languages=en", "update"])
        return sorted(lists.glob(pattern))

    def _options(self) -> list[str]:
        return [
            "-o", f"Dir::State::Lists={self._folder / 'lists'}",
            "-o", f"Dir::Cache={self._folder / 'cache'}",
            "-o", "APT::Sandbox::User=",
        ]  # fmt: skip


def _parse_description(record: str) -> Description | None:
    package, short, long = "", "", []
    in_description = False
    for line in record.splitlines():
        if line.startswith(" "):
            if in_description:
                long.append("\n" if line == " ." else line.strip() + " ")
            continue
        field, _, value = line.partition(": ")
        in_description = field == "Description-en"
        if in_description:
            short = value.strip()
        elif field == "Package":
            package = value.strip()
    paragraphs = (" ".join(paragraph.split()) for paragraph in "".join(long).split("\n"))
    if not package or not short:
        return None
    return Description(package, short, "\n".join(filter(None, paragraphs)))


def _run(command: Sequence[str | Path], folder: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise DatasetError(f"{command[0]} is not there: this corpus is made on Debian or Ubuntu")
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise DatasetError(f"{' '.join(map(str, command))} failed: {reason}")
    return done.stdout.decode(errors="replace")
