"""Options, checked in one way, and kept in ``encoder.json`` by encoders of terms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from sparseret.analysis import restore_analyzer
from sparseret.errors import ConfigurationError

__all__ = ["analysis_options", "read_description", "whole_number", "write_description"]

_FILE = "encoder.json"


def whole_number(name: str, value: object, least: int) -> int:
    """An option that must be a whole number.

    Raises:
        ConfigurationError: another type, bool included, or below ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} must be a whole number from {least}, got {value!r}")
    return value


def analysis_options(made: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as arguments of an encoder of terms, its analyzer made of its settings.

    Raises:
        ConfigurationError: an option that the class does not have.
    """
    known = sorted(signature(made).parameters)
    if unknown := sorted(options.keys() - {*known}):
        name = getattr(made, "name", made.__name__)
        raise ConfigurationError(f"{name} has no option {unknown[0]!r}; it has {', '.join(known)}")
    given = dict(options)
    if isinstance(given.get("analyzer"), Mapping):
        given["analyzer"] = restore_analyzer(given["analyzer"])
    return given


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Keep what makes up an encoder, as JSON values: ``encoder``, its name, ``options``, and more.

    The folder is made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(json.dumps(description, ensure_ascii=False), "utf-8")


def read_description(folder: Path, name: str) -> dict[str, Any]:
    """Read what :func:`write_description` wrote.

    Raises:
        ConfigurationError: the folder holds no encoder of this name.
    """
    file = folder / _FILE
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("encoder") != name:
        raise ConfigurationError(f"{file} does not describe a {name} encoder")
    return found
