"""API keys with scopes, hashed at rest.

A key is 256 random bits, so one round of SHA-256 is as good as a slow hash: there is nothing to
guess. The file holds names, scopes and digests; who reads it can make no request with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from sparseret.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["Key", "KeyFile", "Scope"]

Scope = Literal["read", "write"]
_PREFIX = "sr-"
_VERSION = 1


class Key(NamedTuple):
    """What is kept of a key."""

    name: str
    scopes: tuple[Scope, ...]
    digest: str
    """SHA-256 of the key, hexadecimal."""


class KeyFile:
    """The keys of a service, read once.

    Args:
        path: a JSON file, which :meth:`add` makes.

    Raises:
        ConfigurationError: a file that is none of keys.
        StorageError: the file system refused.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.keys = _read(self.path)

    def find(self, token: str) -> Key | None:
        """The key that a client showed, or None; takes as long for one as for the other."""
        digest = _digest(token)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def add(self, name: str, scopes: Iterable[Scope]) -> str:
        """Make a key, write its digest and return the key itself, which is kept nowhere.

        Raises:
            ConfigurationError: the name is taken, or an unknown scope.
            StorageError: the file system refused.
        """
        wanted = tuple(dict.fromkeys(scopes))
        if not wanted or any(scope not in get_args(Scope) for scope in wanted):
            raise ConfigurationError(f"scopes are {' and '.join(get_args(Scope))}, got {wanted}")
        if not name or not name.isprintable():
            raise ConfigurationError("a key needs a name, to be told from others in the log")
        token = _PREFIX + secrets.token_urlsafe(32)
        with self._lock():
            self.keys = _read(self.path)
            if any(key.name == name for key in self.keys):
                raise ConfigurationError(f"{self.path} has a key {name!r} already: remove it first")
            self._write([*self.keys, Key(name, wanted, _digest(token))])
        return token

    def remove(self, name: str) -> None:
        """Forget a key. Raises ConfigurationError where there is none of the name."""
        with self._lock():
            self.keys = _read(self.path)
            kept = [key for key in self.keys if key.name != name]
            if len(kept) == len(self.keys):
                raise ConfigurationError(f"{self.path} has no key {name!r}")
            self._write(kept)

    def _lock(self) -> FileLock:
        from filelock import FileLock

        return FileLock(f"{self.path}.lock", timeout=10)

    def _write(self, keys: list[Key]) -> None:
        made = {"version": _VERSION, "keys": [key._asdict() for key in keys]}
        beside = self.path.with_name(self.path.name + ".new")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
                json.dump(made, f, indent=1)
                f.flush()
                os.fsync(f.fileno())
            beside.replace(self.path)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error}") from error
        self.keys = keys


def _read(path: Path) -> list[Key]:
    try:
        read = json.loads(path.read_text("utf-8"))
        if read["version"] != _VERSION:
            raise ConfigurationError(f"{path} is of a newer sparseret")
        return [Key(k["name"], tuple(k["scopes"]), k["digest"]) for k in read["keys"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(
            f"{path} is no file of keys: make one with `sparseret keys add {path}`"
        ) from error


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
