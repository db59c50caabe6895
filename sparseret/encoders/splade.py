"""SPLADE: documents and queries as weights of a language model's vocabulary, any checkpoint.

Formulas and settings: :mod:`sparseret.encoders.splade_model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret import vectors
from sparseret.encoders.fields import read_fields
from sparseret.encoders.model_folder import (
    ModelFolder,
    Side,
    find_folder,
    read_model_folder,
)
from sparseret.encoders.row_ops import Pruning, read_pruning
from sparseret.encoders.saved_folder import (
    copy_license,
    saved_name,
    write_encoder,
    write_routes,
    write_splade_side,
)
from sparseret.encoders.spaces import space_id
from sparseret.encoders.splade_documents import MaskedLMEncoder, SpladeDocuments, identity
from sparseret.encoders.splade_model import (
    Activation,
    Long,
    Machine,
    Pooling,
    Precision,
    Reading,
    SpladeModel,
)
from sparseret.encoders.text_batches import longest_input, resolve_length
from sparseret.encoders.transformer_body import Backend
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SpladeEncoder", "read_side"]


class SpladeEncoder(MaskedLMEncoder):
    """A SPLADE checkpoint as an encoder (:class:`sparseret.protocols.Encoder`).

    Weights are loaded at the first text. Empty texts have empty vectors.

    Args:
        folder: a transformers folder of a masked language model, a folder of sentence-transformers'
            SparseEncoder, or the id of such a repository of the Hugging Face Hub.
        query_model: the same, for queries, where they have a model of their own; its vocabulary
            must be that of ``folder``.
        pooling: over the tokens of a text, "max" or "sum" (SPLADE v1); None takes what the folder
            says, else "max".
        activation: "relu", or "log1p_relu" for models with a double logarithm; None takes what the
            folder says, else "relu".
        max_length: tokens of a text that are read, special tokens included; None takes 256, or the
            model's limit where that is lower.
        long: "truncate" cuts longer texts (:attr:`truncated` counts them), "windows" reads them in
            windows of ``max_length`` tokens that overlap by an eighth, and takes the largest weight
            over windows.
        pruning: which weights of documents are kept; a mapping such as ``{"top_k": 128}`` will do.
            None takes the ``max_active_dims`` of the folder, else all.
        query_pruning: the same for queries.
        fields: weights of fields ("title", "text" or a metadata key), such as
            ``{"title": 2, "text": 1}``: each is encoded by itself, its vector is multiplied by its
            weight, and the largest weight over fields is taken (with sum pooling the sum). None
            encodes title and text as one string.
        precision: of the product with the vocabulary; "int8" is faster and less exact.
        backend: "torch", "onnx" (:mod:`sparseret.encoders.onnx_body`), or "auto", which is ONNX
            where an exported model is in the folder.
        device: of torch; on "cuda" the product with the vocabulary runs there, too.
        batch_tokens: tokens that go through the model at a time.
        threads: of the product with the vocabulary and of ONNX Runtime; None for one per core.

    The last four say how to run, not what comes out, and are not part of :attr:`options`.

    Raises:
        ConfigurationError: no such model, or an option out of its range.
    """

    name = "splade"

    def __init__(
        self,
        folder: str | Path,
        *,
        query_model: str | Path | None = None,
        pooling: Pooling | None = None,
        activation: Activation | None = None,
        max_length: int | None = None,
        long: Long = "truncate",
        pruning: Pruning | Mapping[str, Any] | None = None,
        query_pruning: Pruning | Mapping[str, Any] | None = None,
        fields: Mapping[str, float] | None = None,
        precision: Precision = "float32",
        backend: Backend = "auto",
        device: str = "cpu",
        batch_tokens: int = 4096,
        threads: int | None = None,
    ) -> None:
        root = find_folder(folder)
        found = read_model_folder(root)
        queries = found.queries
        query_root = None
        if query_model is not None:
            query_root = find_folder(query_model)
            queries = read_model_folder(query_root).queries
        for side in (found.documents, queries):
            if side.static:
                raise ConfigurationError(
                    f"{side.folder} is a table of weights of tokens, which needs no model: "
                    "use the encoder inference-free"
                )
        machine = Machine(backend, device, batch_tokens, threads)
        reading = read_side(found.documents, pooling, activation, max_length, long, precision)
        model = SpladeModel(found.documents.folder, reading, machine)
        documents = SpladeDocuments(
            model,
            found.documents.prompt,
            _pruning(pruning, "pruning", found),
            read_fields(fields),
        )
        self._query_prompt = queries.prompt
        self._queries = model
        if queries != found.documents and max_length is not None:
            max_length = min(max_length, longest_input(queries.folder))
        reading = read_side(queries, pooling, activation, max_length, long, precision)
        if (queries.folder, reading) != (model.folder, model.reading):
            self._queries = SpladeModel(queries.folder, reading, machine)
        if self._queries.dim != model.dim:
            raise ConfigurationError(
                f"the vocabulary of queries has {self._queries.dim} tokens, that of documents "
                f"{model.dim}: the two models do not belong together"
            )
        given = {
            "folder": saved_name(folder, root),
            "query_model": query_root and saved_name(query_model or "", query_root),
            "pooling": pooling,
            "activation": activation,
            "pruning": pruning,
            "query_pruning": query_pruning,
        }
        super().__init__(root, documents, _pruning(query_pruning, "query_pruning", found), given)
        self._space: str | None = None

    # --- identity ---------------------------------------------------------------------------

    @property
    def space(self) -> str:
        """Id of the vector space: weights, tokenizers and settings of both sides."""
        if self._space is None:
            made = [
                self._documents.identity,
                identity(self._queries, self._query_prompt, self._query_pruning),
            ]
            self._space = space_id(self.name, made)
        return self._space

    @property
    def truncated(self) -> int:
        """Documents and queries of which tokens were left out, so far."""
        models = {id(model): model for model in (self._documents.model, self._queries)}
        return sum(model.truncated for model in models.values())

    # --- vectors ----------------------------------------------------------------------------

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim); errors as for documents."""
        with progress_bar("Encoding queries", len(queries), show=show_progress) as advance:
            rows = self._queries.encode(
                queries, self._query_pruning, prompt=self._query_prompt, advance=advance
            )
        return vectors.from_arrays(*rows, self.dim)

    # --- saving -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write model and settings to a folder that sentence-transformers reads, too."""
        out = Path(path)
        if self._queries is self._documents.model:
            modules = write_splade_side(out, self._queries, prefix=None)
        else:
            routes = {
                "query": write_splade_side(out, self._queries, prefix="query"),
                "document": write_splade_side(out, self._documents.model, prefix="document"),
            }
            modules = write_routes(out, routes)
        prompts = (self._documents.prompt, self._query_prompt)
        prunings = (self._documents.pruning, self._query_pruning)
        write_encoder(out, self, modules, prompts, prunings)
        copy_license(self._root, out)


def read_side(
    side: Side,
    pooling: Pooling | None,
    activation: Activation | None,
    max_length: int | None,
    long: Long,
    precision: Precision,
) -> Reading:
    """What was chosen, and the rest as the folder says. Raises ConfigurationError."""
    # Values of a file: Reading checks them.
    found: dict[str, Any] = {
        "pooling": pooling or side.pooling or "max",
        "activation": activation or side.activation or "relu",
    }
    length = resolve_length(side.folder, max_length)
    return Reading(**found, max_length=length, long=long, precision=precision)


def _pruning(given: Pruning | Mapping[str, Any] | None, name: str, found: ModelFolder) -> Pruning:
    return Pruning(top_k=found.max_active_dims) if given is None else read_pruning(given, name)
