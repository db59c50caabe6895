"""What ``python -m benchmarks encoding`` writes down: frozen records."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.environment import Environment

__all__ = ["PEER", "DocumentEncoding", "EncodingReport", "QueryEncoding"]

PEER = "sentence-transformers"


@dataclass(frozen=True)
class DocumentEncoding:
    """One way to encode the documents."""

    encoder: str
    documents_per_second: tuple[float, ...]
    """Of each round; rounds of all encoders are paired."""
    before_mb: float
    """Resident set of a process that has loaded the model and encoded one short text, 1e6 bytes."""
    peak_mb: float
    """Largest resident set of that process while it encodes the documents."""
    largest_difference: float | None
    """From the weights of sentence-transformers; None for those themselves or where absent."""
    support_differs: int | None
    """Weights that only one of the two has."""

    @property
    def rise_mb(self) -> float:
        """Memory that encoding takes."""
        return self.peak_mb - self.before_mb


@dataclass(frozen=True)
class QueryEncoding:
    """One way to encode queries: median over rounds, microseconds a query."""

    encoder: str
    batch_us: float
    single_us: float
    cold_batch_us: float
    """The first batch of a new encoder, which has seen no word."""


@dataclass(frozen=True)
class EncodingReport:
    """Everything measured."""

    environment: Environment
    texts: str
    documents: int
    mean_tokens: float
    """Of the documents, cut at ``max_length``."""
    max_length: int
    peer_batch: int
    """Texts that sentence-transformers encodes at a time."""
    vocabulary: int
    rounds: int
    documents_encoded: tuple[DocumentEncoding, ...]
    queries: int
    queries_encoded: tuple[QueryEncoding, ...]

    @property
    def logits_mb(self) -> float:
        """Logits of a full batch of sentence-transformers, 1e6 bytes."""
        return self.peer_batch * self.max_length * self.vocabulary * 4 / 1e6
