"""Encoding as Markdown."""

from __future__ import annotations

from statistics import median

from benchmarks.encoding.records import PEER, EncodingReport
from benchmarks.environment import environment_lines
from benchmarks.markdown import table

__all__ = ["markdown", "ratio"]


def markdown(report: EncodingReport) -> str:
    """The whole report."""
    lines = [
        *environment_lines(report.environment),
        "",
        f"{report.documents:,} documents of {report.texts}, {report.mean_tokens:.0f} tokens each "
        f"(at most {report.max_length}); one thread, {report.rounds} rounds, in turns. "
        f"sentence-transformers encodes {report.peer_batch} texts at a time: logits of "
        f"{report.logits_mb:,.0f} MB. Differences are of weights, from those of "
        "sentence-transformers.",
        "",
        *_documents(report),
    ]
    if report.queries_encoded:
        lines += [
            "",
            f"{report.queries} queries, median µs a query over the rounds. The first batch of a "
            "new encoder meets words that it has not seen.",
            "",
            *_queries(report),
        ]
    return "\n".join(lines) + "\n"


def ratio(report: EncodingReport, encoder: str) -> float | None:
    """Median of the ratios to the peer in paired rounds; None where it was not measured."""
    rounds = {own.encoder: own.documents_per_second for own in report.documents_encoded}
    if PEER not in rounds or encoder not in rounds:
        return None
    return median(own / peer for own, peer in zip(rounds[encoder], rounds[PEER], strict=True))


def _documents(report: EncodingReport) -> list[str]:
    rows = []
    for own in report.documents_encoded:
        times = ratio(report, own.encoder)
        rows.append(
            [
                own.encoder,
                f"{median(own.documents_per_second):.1f}",
                "-" if times is None else f"{times:.2f} ×",
                f"{own.before_mb:,.0f}",
                f"{own.rise_mb:,.0f}",
                f"{own.rise_mb / report.logits_mb:.3f}",
                "-" if own.largest_difference is None else f"{own.largest_difference:.1e}",
                "-" if own.support_differs is None else f"{own.support_differs:,}",
            ]
        )
    header = [
        "encoder", "documents/s", f"over {PEER}", "MB with the model loaded", "MB more at the peak",
        "of these logits", "largest difference", "weights one lacks",
    ]  # fmt: skip
    return table(header, rows)


def _queries(report: EncodingReport) -> list[str]:
    first = report.queries_encoded[0]
    rows = [
        [
            own.encoder, f"{own.batch_us:.1f}", f"{own.batch_us / first.batch_us:.2f} ×",
            f"{own.single_us:.1f}", f"{own.single_us / first.single_us:.2f} ×",
            f"{own.cold_batch_us:.1f}",
        ]
        for own in report.queries_encoded
    ]  # fmt: skip
    header = [
        "encoder", "in a batch", f"of {first.encoder}", "one a call", f"of {first.encoder}",
        "first batch",
    ]  # fmt: skip
    return table(header, rows)
