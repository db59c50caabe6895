"""Ids of vector spaces."""

from __future__ import annotations

import json
from hashlib import sha256

__all__ = ["space_id"]


def space_id(name: str, identity: object, *, sort_keys: bool = False) -> str:
    """A stable id: the encoder's name, and a digest of what its vectors depend on.

    Args:
        name: of the encoder.
        identity: JSON values that change with everything that changes vectors.
        sort_keys: whether mappings are the same in whatever order.
    """
    text = json.dumps(identity, sort_keys=sort_keys)
    return f"{name}/{sha256(text.encode()).hexdigest()[:16]}"
