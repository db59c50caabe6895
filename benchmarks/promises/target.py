"""One promise held against one result."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Target", "at_least", "at_most"]


@dataclass(frozen=True)
class Target:
    """One promise, and what one result says about it."""

    what: str
    wanted: str
    measured: str
    met: bool


def at_least(what: str, measured: float, least: float, unit: str = " ×") -> Target:
    """More is better."""
    return Target(what, f"≥ {least:g}{unit}", f"{measured:.2f}{unit}", measured >= least)


def at_most(what: str, measured: float, most: float, unit: str = " ×") -> Target:
    """Less is better."""
    return Target(what, f"≤ {most:g}{unit}", f"{measured:.2f}{unit}", measured <= most)
