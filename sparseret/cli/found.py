"""Results of a search as JSON, be they documents or documents found by their chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparseret.explanation import Explanation
    from sparseret.parents import ParentResult, Passage
    from sparseret.retriever import Result

__all__ = ["best_part", "print_json"]


def best_part(result: Result | ParentResult) -> Result | Passage:
    """What has the score: the document, or its best chunk."""
    from sparseret.parents import ParentResult

    return result.passages[0] if isinstance(result, ParentResult) else result


def print_json(
    results: Sequence[Result | ParentResult], explanations: Sequence[Explanation]
) -> None:
    """A JSON object a line."""
    from sparseret.parents import ParentResult

    for i, result in enumerate(results):
        line: dict[str, Any] = {"rank": i + 1, **result._asdict()}
        if isinstance(result, ParentResult):
            line["passages"] = [_scored(passage._asdict()) for passage in result.passages]
            line["missing_legs"] = line.pop("missing")
            if not result.passages[0].shares:
                del line["missing_legs"]
        else:
            line = _scored(line)
        if explanations:
            line |= _explained(explanations[i])
        print(json.dumps(line, ensure_ascii=False))


def _scored(line: dict[str, Any]) -> dict[str, Any]:
    """Without what only indexes of several legs, and results that are re-ranked, have to tell."""
    if "missing" in line:
        line["missing_legs"] = line.pop("missing")
    if not line["shares"]:
        del line["shares"]
        line.pop("missing_legs", None)
    if line["first_stage_score"] is None:
        del line["first_stage_score"], line["reranked"]
    return line


def _explained(explanation: Explanation) -> dict[str, Any]:
    """What JSON says of terms and legs."""
    if not explanation.legs:
        terms = [term._asdict() for term in explanation.terms]
        return {"terms": terms, "missing": explanation.missing}
    legs = [
        {**leg._asdict(), "terms": [term._asdict() for term in leg.terms]}
        for leg in explanation.legs
    ]
    return {"legs": legs}
