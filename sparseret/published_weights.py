"""Published weights, and the best encoder at hand, which is found without fetching any."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

__all__ = ["CHECKPOINTS", "Checkpoint", "Choice", "choose_encoder", "forbids_commerce"]


class Checkpoint(NamedTuple):
    """Published weights, as the Hugging Face Hub has them."""

    repository: str
    encoder: str
    """Name of the encoder that loads them (:data:`sparseret.registry.ENCODERS`)."""
    quality: float
    """Mean nDCG@10 over the 13 public data sets of BEIR, as published."""
    megaparameters: int
    license: str


CHECKPOINTS = (
    Checkpoint(
        "opensearch-project/opensearch-neural-sparse-encoding-v2-distill",
        "splade", 0.528, 67, "apache-2.0",
    ),
    Checkpoint(
        "opensearch-project/opensearch-neural-sparse-encoding-v1",
        "splade", 0.524, 133, "apache-2.0",
    ),
    Checkpoint(
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill",
        "inference-free", 0.517, 67, "apache-2.0",
    ),
    Checkpoint("naver/splade-v3", "splade", 0.517, 110, "cc-by-nc-sa-4.0"),
    Checkpoint("ibm-granite/granite-embedding-30m-sparse", "splade", 0.508, 30, "apache-2.0"),
    Checkpoint(
        "naver/splade-cocondenser-ensembledistil", "splade", 0.505, 110, "cc-by-nc-sa-4.0"
    ),
    Checkpoint(
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-distill",
        "inference-free", 0.504, 67, "apache-2.0",
    ),
    Checkpoint(
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini",
        "inference-free", 0.497, 23, "apache-2.0",
    ),
    Checkpoint("prithivida/Splade_PP_en_v2", "splade", 0.494, 110, "apache-2.0"),
    Checkpoint("rasyosef/splade-mini", "splade", 0.445, 11, "mit"),
)  # fmt: skip
"""Best first. Scores: the model cards and the list of pretrained sparse encoders of
sentence-transformers; BM25 has 0.437 there by Lucene's."""

_BM25_QUALITY = 0.437


class Choice(NamedTuple):
    """An encoder, and why it was chosen."""

    name: str
    """For :func:`sparseret.registry.load_encoder`."""
    why: str
    """As it reads after "because"."""


def forbids_commerce(stated: str) -> bool:
    """Whether a licence says that it is for non-commercial use alone."""
    words = stated.lower().replace("_", "-").replace(" ", "-")
    return "-nc-" in f"-{words}-" or "non-commercial" in words or "noncommercial" in words


def choose_encoder() -> Choice:
    """The checkpoint of the highest published quality whose weights are in the local cache of the
    Hugging Face Hub and can be run with what is installed; BM25 where there is none.

    Weights that may not be used commercially are never chosen: name those yourself.
    """
    cached = [(point, folder) for point in CHECKPOINTS if (folder := _cached(point.repository))]
    missing = ""
    for point, folder in cached:
        if forbids_commerce(point.license):
            continue
        if not _can_run(folder):
            missing = missing or (
                f"; {point.repository} is in the local cache, but there is nothing to run it with: "
                "pip install 'sparseret[neural]'"
            )
            continue
        return Choice(
            f"{point.encoder}:{point.repository}",
            f"its weights are in the local cache, and it is the best of those known that can run "
            f"here: nDCG@10 of {point.quality:.3f} on BEIR, where BM25 has {_BM25_QUALITY:.3f}",
        )
    best = next(p for p in CHECKPOINTS if p.encoder == "inference-free")
    return Choice(
        "bm25",
        missing.removeprefix("; ")
        or "no learned weights that it knows are in the local cache of the Hugging Face Hub; for "
        f"better results: pip install 'sparseret[neural]' and --encoder "
        f"{best.encoder}:{best.repository}",
    )


def _cached(repository: str) -> Path | None:
    """The local snapshot of a repository, if it is complete enough to have its settings."""
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in ("modules.json", "config.json"):
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _can_run(folder: Path) -> bool:
    if find_spec("tokenizers") is None:
        return False
    if find_spec("torch") is not None and find_spec("transformers") is not None:
        return True
    return find_spec("onnxruntime") is not None and any(folder.rglob("model-body.onnx"))
