"""The formats of exchange, and which of them a file or folder is in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from sparseret.errors import ConfigurationError, DocumentError
from sparseret.exchange.hf_datasets import is_saved_dataset
from sparseret.linefile import COMPRESSIONS

__all__ = ["Format", "format_by_name", "format_of"]

Format: TypeAlias = Literal["anserini", "ciff", "parquet", "hf-datasets", "lucene"]

_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "anserini",
    ".ciff": "ciff",
    ".parquet": "parquet",
}


def format_by_name(path: str | Path) -> Format:
    """The format of a file to be, by its name.

    Raises:
        ConfigurationError: the name does not say.
    """
    name = Path(path)
    if name.suffix in COMPRESSIONS:
        name = name.with_suffix("")
    if name.suffix not in _BY_SUFFIX:
        raise ConfigurationError(
            f"{path}: the name does not say the format: give --format, one of "
            f"{', '.join(get_args(Format))}"
        )
    return _BY_SUFFIX[name.suffix]


def format_of(path: str | Path) -> Format:
    """The format of a file by its name, or of a folder by what is in it.

    Raises:
        ConfigurationError: nothing says.
        DocumentError: no such file.
    """
    folder = Path(path)
    if not folder.exists():
        raise DocumentError(f"{path}: no such file or folder")
    if not folder.is_dir():
        return format_by_name(path)
    if any(folder.glob("segments_*")):
        return "lucene"
    named = [*folder.glob("corpus*"), *folder.glob("data/corpus*")]
    if named or is_saved_dataset(folder):
        return "hf-datasets"
    kinds = {kind for item in folder.iterdir() for kind in _kinds(item)}
    if len(kinds) == 1:
        return kinds.pop()
    raise ConfigurationError(
        f"{path}: what is in the folder does not say the format: give --format, one of "
        f"{', '.join(get_args(Format))}"
    )


def _kinds(item: Path) -> list[Format]:
    try:
        return [format_by_name(item)]
    except ConfigurationError:
        return []
