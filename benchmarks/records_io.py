"""Records as JSON and back: any frozen dataclass, however nested."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["read_json", "write_json"]

_Record = TypeVar("_Record")


def write_json(path: Path, record: Any) -> None:
    """Write a dataclass."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[_Record]) -> _Record:
    """Read what :func:`write_json` wrote of a dataclass of this kind."""
    record: _Record = _restored(json.loads(path.read_text("utf-8")), kind)
    return record


def _restored(value: Any, kind: Any) -> Any:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        # Absent fields have defaults: they were added after the file was written.
        known = {f.name: value[f.name] for f in fields(kind) if f.name in value}
        return kind(**{name: _restored(own, hints[name]) for name, own in known.items()})
    if isinstance(value, list):
        items = get_args(kind)
        if get_origin(kind) is tuple and Ellipsis not in items:
            return tuple(_restored(v, item) for v, item in zip(value, items, strict=True))
        restored = [_restored(own, items[0]) for own in value]
        return tuple(restored) if get_origin(kind) is tuple else restored
    return value
