"""Encoders by name: those built in, those of other packages, and those there are not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest

from sparseret import load_encoder as public_load_encoder
from sparseret.encoders.bm25 import BM25Encoder
from sparseret.errors import ConfigurationError
from sparseret.protocols import Encoder
from sparseret.registry import ENCODERS, ENTRY_POINTS, load_encoder


class Plugin:
    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Plugin:
        return cls(options)


@pytest.fixture
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with one good encoder and two broken ones."""
    module = ModuleType("plugin_package")
    module.Plugin = Plugin  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "plugin_package", module)
    points = EntryPoints(
        EntryPoint(name, value, ENTRY_POINTS)
        for name, value in {
            "good": "plugin_package:Plugin",
            "absent": "plugin_package:Absent",
            "uninstalled": "no_such_package:Plugin",
            "bm25": "plugin_package:Plugin",
        }.items()
    )

    def entry_points(*, group: str) -> EntryPoints:
        return points.select(group=group)

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_built_in_encoder_can_be_made_again_or_asks_for_its_model(name: str) -> None:
    if name not in ("bm25", "sdr", "terms"):  # tested with models, each in a file of its own
        with pytest.raises(ConfigurationError, match=f"{name} needs the option folder"):
            load_encoder(name)
        return
    encoder = load_encoder(name)
    assert isinstance(encoder, Encoder)
    assert encoder.name == name
    again = load_encoder(encoder.name, encoder.options)
    assert again.space == encoder.space
    assert again.options == encoder.options


def test_options_reach_the_encoder() -> None:
    encoder = public_load_encoder("bm25", {"k1": 0.9})
    assert isinstance(encoder, BM25Encoder)
    assert encoder.k1 == 0.9
    with pytest.raises(ConfigurationError, match="no option 'kl'"):
        load_encoder("bm25", {"kl": 0.9})


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown encoder 'bm52'; there are: bm25, "):
        load_encoder("bm52")


@pytest.mark.usefixtures("_plugins")
def test_other_packages_add_encoders() -> None:
    made: Any = load_encoder("good", {"a": 1})
    assert isinstance(made, Plugin)
    assert made.options == {"a": 1}
    assert load_encoder("good").options == {}
    with pytest.raises(ConfigurationError, match=r"absent, bm25, .*good, .*uninstalled"):
        load_encoder("bad")


@pytest.mark.usefixtures("_plugins")
def test_built_in_names_cannot_be_taken_over() -> None:
    assert isinstance(load_encoder("bm25"), BM25Encoder)


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize("name", ["absent", "uninstalled"])
def test_packages_that_do_not_keep_their_promise(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"encoder '{name}' is registered as .*imported"):
        load_encoder(name)
