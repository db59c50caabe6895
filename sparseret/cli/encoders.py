"""What commands tell about encoders: which "auto" is, whose weights they use, what was cut."""

from __future__ import annotations

import sys

from sparseret.protocols import DenseEncoder, Encoder

__all__ = ["note_license", "note_truncated", "resolve_encoder"]


def resolve_encoder(name: str) -> str:
    """The encoder that "auto" stands for, saying so on standard error; other names as they are."""
    from sparseret.registry import AUTO

    if name != AUTO:
        return name
    from sparseret.published_weights import choose_encoder

    choice = choose_encoder()
    print(f"encoder: {choice.name}, because {choice.why}", file=sys.stderr)
    return choice.name


def note_license(encoder: Encoder | DenseEncoder) -> None:
    """Tell the licence of an encoder's weights on standard error, if it has weights."""
    from sparseret.published_weights import forbids_commerce

    if not hasattr(encoder, "license"):
        return
    stated: str | None = encoder.license
    if stated is None:
        print("weights: their folder does not say under which licence", file=sys.stderr)
    elif forbids_commerce(stated):
        print(f"warning: the weights are for non-commercial use alone ({stated})", file=sys.stderr)
    else:
        print(f"weights: licence {stated}", file=sys.stderr)


def note_truncated(encoder: Encoder | DenseEncoder) -> None:
    """Tell on standard error how many texts were longer than the encoder reads, if any."""
    truncated = getattr(encoder, "truncated", 0)
    if truncated:
        texts = "1 text was" if truncated == 1 else f"{truncated:,} texts were"
        print(
            f"{texts} longer than the encoder reads, and cut: `max_length` or `long=windows`, "
            "options of the encoder, would read more",
            file=sys.stderr,
        )
