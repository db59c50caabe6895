"""The field by which documents are ordered: conditions on it become a range of document numbers.

Where numbers ascend with the values of a field, the documents within bounds on it are all those
between the first and the last of them, and an SQL index on the field finds these two at once.

Values are ordered as SQLite orders them: numbers by value, then strings by code points. So the
values of one kind lie together, and filters, which keep kinds apart, select consecutive documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sparseret.indexers.catalog import Disorder
from sparseret.indexers.filter_sql import Compiled, compile_filter, indexed_field
from sparseret.indexers.filter_tree import And, Compare, Filter, Path, field, path_text

__all__ = ["OrderField", "Split", "order_field"]


class Split(NamedTuple):
    """A filter in two parts that hold together; one that is absent is None."""

    bounds: Compiled | None
    """Of the order field: true of consecutive documents."""
    rest: Filter | None


class OrderField(NamedTuple):
    """A field by whose values document numbers ascend."""

    path: Path
    value: str
    """SQL of the value, over the catalog's ``documents``; there is an SQL index for it."""
    json_type: str
    """SQL of the value's JSON type."""

    @property
    def text(self) -> str:
        """The path as filters write it."""
        return path_text(self.path)

    def split(self, tree: Filter) -> Split:
        """Take the bounds on the field out of a comparison, or out of a conjunction with some."""
        bounds: list[Compare] = []
        rest: list[Filter] = []
        for operand in tree.operands if isinstance(tree, And) else (tree,):
            if isinstance(operand, Compare) and self._is_bound(operand):
                bounds.append(operand)
            else:
                rest.append(operand)
        return Split(
            self._compiled(bounds) if bounds else None,
            None if not rest else rest[0] if len(rest) == 1 else And(tuple(rest)),
        )

    def complaint(self, found: Disorder) -> str:
        """Why a document cannot stand where it does."""
        if found.json_type not in ("integer", "real", "text"):
            return (
                f"document {found.id!r} has no number or string in {self.text}, the field that "
                "this index is ordered by"
            )
        return (
            f"document {found.id!r} has {self.text} {found.value!r}, and the document before it "
            f"{found.before!r}: this index is ordered by {self.text}, so give documents in "
            "ascending order, or use an index without order_by"
        )

    def _is_bound(self, condition: Compare) -> bool:
        return condition.path == self.path and condition.kind in ("number", "string")

    def _compiled(self, bounds: Sequence[Compare]) -> Compiled:
        kinds = {bound.kind for bound in bounds}
        if len(kinds) > 1:
            return Compiled("0", ())
        tightest = _tightest(bounds)
        found = compile_filter(tightest[0] if len(tightest) == 1 else And(tightest))
        # Keeps the search for the first and the last within the values of the kind.
        own = f"{self.value} < ''" if kinds == {"number"} else f"{self.value} >= ''"
        return Compiled(f"{found.sql} AND {own}", found.parameters)


def _tightest(bounds: Sequence[Compare]) -> tuple[Compare, ...]:
    """One lower and one upper bound at most, that say the same.

    SQLite walks an index in order between two bounds, but sorts what is equal to a value.
    """
    lower: list[tuple[Any, bool]] = [
        (bound.value, bound.order == ">") for bound in bounds if bound.order in ("=", ">", ">=")
    ]
    upper: list[tuple[Any, bool]] = [
        (bound.value, bound.order != "<") for bound in bounds if bound.order in ("=", "<", "<=")
    ]
    path, kept = bounds[0].path, []
    if lower:
        value, strict = max(lower)
        kept.append(Compare(path, ">" if strict else ">=", value))
    if upper:
        value, equal = min(upper)
        kept.append(Compare(path, "<=" if equal else "<", value))
    return tuple(kept)


@lru_cache(maxsize=64)
def order_field(path: str) -> OrderField:
    """The field of a path as filters write it.

    Raises:
        FilterError: not a path, or one that cannot be indexed.
    """
    keys = field(path).path
    return OrderField(keys, *indexed_field(keys))
