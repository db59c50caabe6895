"""Checks of options, said in one way."""

from __future__ import annotations

from sparseret.errors import ConfigurationError

__all__ = ["whole_number"]


def whole_number(name: str, value: object, least: int) -> int:
    """An option that must be a whole number.

    Raises:
        ConfigurationError: another type, bool included, or below ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} must be a whole number from {least}, got {value!r}")
    return value
