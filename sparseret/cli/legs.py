"""Options of the commands about indexes of several legs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparseret.cli.encoders import resolve_encoder
from sparseret.cli.options import parse_options

if TYPE_CHECKING:
    from sparseret.indexers.dense_settings import DenseSettings
    from sparseret.indexers.fusion import Fusion

__all__ = [
    "DegradeOption",
    "DenseOption",
    "FusionOption",
    "LegOption",
    "dense_settings",
    "leg_encoders",
    "leg_options",
    "parse_fusion",
]

DenseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dense",
        metavar="KEY=VALUE",
        help="How dense vectors are kept: kind=hnsw, ivf-pq, binary or pq for approximate "
        "search, precision=float16, and more (docs/hybrid.md); repeat it for more. Only for a new "
        "index.",
        show_default="kind=flat",
    ),
]

FusionOption = Annotated[
    str | None,
    typer.Option(
        "--fusion",
        metavar="NAME[:WEIGHTS]",
        help="How results of several legs are made one: rrf, or min-max, z-score, theoretical or "
        "distribution, with weights in the order of the legs, such as min-max:0.3,0.7.",
        show_default="that of the index",
    ),
]

LegOption = Annotated[
    list[str] | None,
    typer.Option(
        "--leg", help="Search this leg of the index; repeat it for more.", show_default="all"
    ),
]

DegradeOption = Annotated[
    bool,
    typer.Option(
        "--degrade",
        help="Go on without legs that cannot be loaded, and legs or re-rankers that fail.",
    ),
]


def leg_encoders(given: Sequence[str] | None) -> str | dict[str, str] | None:
    """One encoder, or several by leg: ``bm25``, ``words=bm25``; None where none is given.

    A leg without a name has that of its encoder.
    """
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0].partition(":")[0]:
        return resolve_encoder(given[0])
    legs: dict[str, str] = {}
    for text in given:
        head, colon, folder = text.partition(":")
        name, equals, encoder = head.partition("=")
        chosen = resolve_encoder((encoder if equals else head) + colon + folder)
        name = name if equals else chosen.partition(":")[0]
        if name in legs:
            raise typer.BadParameter(
                f"two legs are named {name!r}: name them, as in --encoder words=bm25"
            )
        legs[name] = chosen
    return legs


def leg_options(
    encoders: str | Mapping[str, str] | None, given: Sequence[str] | None
) -> dict[str, Any]:
    """Options of the encoder; of several, by leg."""
    options = parse_options(given)
    if not isinstance(encoders, Mapping):
        return options
    by_leg: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        leg, dot, name = key.partition(".")
        if not dot or leg not in encoders:
            raise typer.BadParameter(
                f"{key}: with several encoders, options begin with the name of a leg: "
                f"{', '.join(f'{leg}.KEY=VALUE' for leg in encoders)}"
            )
        by_leg.setdefault(leg, {})[name] = value
    return by_leg


def dense_settings(given: Sequence[str] | None) -> DenseSettings | None:
    """What ``--dense`` asks for, None where it was not used."""
    if not given:
        return None
    from sparseret.indexers.dense_settings import DenseSettings

    options: dict[str, Any] = parse_options(given)
    try:
        return DenseSettings(**options)
    except TypeError as error:
        raise typer.BadParameter(f"--dense: {error}") from error


def parse_fusion(text: str | None) -> Fusion | None:
    """ "rrf", "rrf:0.3,0.7" or "min-max:0.3,0.7" as a fusion; None for None.

    Raises BadParameter for other forms; ConfigurationError for weights that cannot be.
    """
    if text is None:
        return None
    from typing import get_args

    from sparseret.indexers.fusion import Convex, Normaliser, ReciprocalRank

    name, _, listed = text.partition(":")
    try:
        weights = tuple(float(weight) for weight in listed.split(",")) if listed else None
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: weights are numbers with commas between them, as in min-max:0.3,0.7"
        ) from None
    if name == "rrf":
        return ReciprocalRank(weights)
    for normaliser in get_args(Normaliser):
        if name == normaliser:
            return Convex(weights, normaliser)
    known = ", ".join(("rrf", *get_args(Normaliser)))
    raise typer.BadParameter(f"{text!r}: expected one of {known}, and maybe :WEIGHTS")
