"""Document expansion: a hook for any generator of words that a document lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparseret.errors import ConfigurationError

__all__ = ["Expander"]


class Expander:
    """Calls the hook and checks what it gives.

    The hook is code and cannot be stored with an index; its name is. An index that was built with
    an expansion can be searched without the hook, but not added to.

    Args:
        expand: texts of documents -> what to append to each, "" for nothing; None for no
            expansion.
        name: what goes into the identity of the vector space; by default the hook's Python name.

    Attributes:
        name: None without expansion.
    """

    def __init__(
        self, expand: Callable[[Sequence[str]], Sequence[str]] | None, name: str | None
    ) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise ConfigurationError(f"expansion must be a name, got {name!r}")
        if expand is not None and not callable(expand):
            raise ConfigurationError(
                f"expand must be a function of texts that gives what to append, got {expand!r}"
            )
        if expand is not None and name is None:
            kind = expand if hasattr(expand, "__qualname__") else type(expand)
            name = f"{kind.__module__}.{kind.__qualname__}"
        self.name = name
        self._expand = expand

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """What to append to each text.

        Raises:
            ConfigurationError: an expansion is named but the hook was not given, or it does not
                give one string for each text.
        """
        if self._expand is None:
            if self.name is not None:
                raise ConfigurationError(
                    f"documents of this encoder are expanded by {self.name!r}: give that function "
                    "as expand= to encode more of them (queries need none)"
                )
            return [""] * len(texts)
        given = list(self._expand(list(texts)))
        if len(given) != len(texts) or not all(isinstance(text, str) for text in given):
            raise ConfigurationError(
                f"the expansion {self.name!r} gave {len(given)} values for {len(texts)} texts; it "
                "must give one string for each"
            )
        return given
