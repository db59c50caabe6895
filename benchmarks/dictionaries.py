"""Dictionaries and codebooks on dense vectors of texts: ``python -m benchmarks dictionaries``.

Learns them from the documents of collections and searches with codes, as ``codes`` does with
autoencoders; and with dense queries and the reconstructions of documents. Prints a table. Needs
torch and transformers, or the vectors that ``codes`` has kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.codes import Collection, latents_of
from benchmarks.markdown import table
from benchmarks.say import say
from sparseret.encoders.dense_text import load_dense
from sparseret.encoders.model_folder import find_folder
from sparseret.eval.code_card import rate_codes
from sparseret.train.codes import train_codec

__all__ = ["main"]

_COLUMNS = ["collection", "codec", "bytes", "error", "codes", "reconstructions", "seconds"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dictionaries", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a sentence-transformers model")
    parser.add_argument("--sets", nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--k", nargs="*", type=int, default=[16, 32])
    parser.add_argument("--codebooks", type=int, default=48)
    parser.add_argument("--entries", type=int, default=256)
    options = parser.parse_args(arguments)
    dense = load_dense(find_folder(options.model))
    rows = []
    for source in options.sets:
        c = Collection(source, dense, short=False)
        whole = f"{c.rate(c.queries @ c.documents.T):.4f}"
        rows.append([c.name, "dense", str(2 * c.documents.shape[1]), "", "", whole, ""])
        for label, name, size, settings in _codecs(c, options):
            say(f"{label} on {c.name}")
            begun = time.perf_counter()
            codec: Any = train_codec(name, c.documents, settings)
            codes = codec.transform(c.documents)
            seconds = time.perf_counter() - begun
            found = c.rate((codec.transform(c.queries) @ codes.T).toarray())
            made = c.rate(c.queries @ codec.inverse_transform(codes).T)
            error = rate_codes(codec, c.documents).normalized_error
            rows.append(
                [c.name, label, str(size), f"{error:.3f}", f"{found:.4f}", f"{made:.4f}",
                 f"{seconds:.0f}"]
            )  # fmt: skip
            say(" ".join(rows[-1]))
    print("\n".join(table(_COLUMNS, rows)))


def _codecs(
    c: Collection, chosen: argparse.Namespace
) -> list[tuple[str, str, int, Mapping[str, Any]]]:
    """What to call a codec, its name, the bytes of a code, and its options."""
    dim = latents_of(len(c.documents))
    found: list[tuple[str, str, int, Mapping[str, Any]]] = [
        (f"dictionary of {dim:,}, k={k}", "dictionary", 4 * k, {"dim": dim, "k": k})
        for k in chosen.k
    ]
    for kind in ("product", "residual"):
        options = {"codebooks": chosen.codebooks, "entries": chosen.entries, "kind": kind}
        bits = chosen.codebooks * int(np.ceil(np.log2(chosen.entries)))
        label = f"vq, {kind}, {chosen.codebooks} x {chosen.entries}"
        found.append((label, "vq", -(-bits // 8), options))
    return found
