"""Inference-free SPLADE: documents by a model, queries by a table of token weights.

Queries are encoded as fast as those of BM25, and need neither torch nor ONNX Runtime.

Zhichao Geng, Yiwen Wang, Dongyu Ru, Yang Yang. Towards Competitive Search Relevance For
Inference-Free Learned Sparse Retrievers. 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log1p
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseret import vectors
from sparseret.encoders.fields import read_fields
from sparseret.encoders.model_folder import find_folder, read_model_folder
from sparseret.encoders.row_ops import Pruning, prune_rows, read_pruning
from sparseret.encoders.saved_folder import (
    STATIC,
    Module,
    copy_license,
    copy_tokenizer,
    saved_name,
    write_encoder,
    write_json,
    write_routes,
    write_splade_side,
)
from sparseret.encoders.spaces import space_id
from sparseret.encoders.splade import read_side
from sparseret.encoders.splade_documents import MaskedLMEncoder, SpladeDocuments
from sparseret.encoders.splade_model import (
    Activation,
    Long,
    Machine,
    Pooling,
    Precision,
    SpladeModel,
)
from sparseret.encoders.text_batches import load_tokenizer
from sparseret.encoders.token_table import find_table
from sparseret.encoders.transformer_body import Backend
from sparseret.errors import ConfigurationError
from sparseret.progress import progress_bar

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["InferenceFreeEncoder", "collection_idf"]

_BATCH = 1000


class InferenceFreeEncoder(MaskedLMEncoder):
    """Documents by a masked language model, queries by a table of token weights
    (:class:`sparseret.protocols.Encoder`).

    Args:
        folder: a folder of sentence-transformers' SparseEncoder whose Router has a
            SparseStaticEmbedding for queries; a transformers folder with ``idf.json``; or the id of
            such a repository of the Hugging Face Hub.
        queries: where the table is, if not in ``folder``: a JSON file that maps tokens to weights
            (:func:`collection_idf` makes one), or a folder with ``idf.json`` or a
            SparseStaticEmbedding.
        pooling, activation, max_length, long, pruning, fields, precision: of documents, as of
            :class:`sparseret.encoders.splade.SpladeEncoder`.
        query_pruning: which weights of queries are kept.
        backend, device, batch_tokens, threads: how documents are encoded, as there.

    Raises:
        ConfigurationError: no such model or table, or an option out of its range.
        MissingExtraError: tokenizers is not installed.
    """

    name = "inference-free"

    def __init__(
        self,
        folder: str | Path,
        *,
        queries: str | Path | None = None,
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
        if found.documents.static:
            raise ConfigurationError(f"{root}: the documents' side has no model")
        if queries is not None:
            place = Path(queries) if Path(queries).is_file() else find_folder(queries)
        else:
            place = found.queries.folder
        self._table = find_table(place.resolve(), found.documents.folder)
        self._query_prompt = found.queries.prompt
        reading = read_side(found.documents, pooling, activation, max_length, long, precision)
        machine = Machine(backend, device, batch_tokens, threads)
        model = SpladeModel(found.documents.folder, reading, machine)
        if len(self._table.weights) > model.dim:
            raise ConfigurationError(
                f"{place} has weights of {len(self._table.weights)} tokens, the documents' "
                f"vocabulary has {model.dim}: they do not belong together"
            )
        of_folder = Pruning(top_k=found.max_active_dims)
        documents = SpladeDocuments(
            model,
            found.documents.prompt,
            of_folder if pruning is None else read_pruning(pruning, "pruning"),
            read_fields(fields),
        )
        given = {
            "folder": saved_name(folder, root),
            "queries": queries and saved_name(queries, place.resolve()),
            "pooling": pooling,
            "activation": activation,
            "pruning": pruning,
            "query_pruning": query_pruning,
        }
        of_queries = (
            of_folder if query_pruning is None else read_pruning(query_pruning, "query_pruning")
        )
        super().__init__(root, documents, of_queries, given)
        self._space: str | None = None

    # --- identity ---------------------------------------------------------------------------

    @property
    def space(self) -> str:
        """Id of the vector space: weights, table, tokenizer and settings."""
        if self._space is None:
            made = [
                self._documents.identity,
                self._table.digest,
                self._table.max_length,
                self._query_prompt,
                self._query_pruning.options,
            ]
            self._space = space_id(self.name, made)
        return self._space

    @property
    def truncated(self) -> int:
        """Documents and queries of which tokens were left out, so far."""
        return self._documents.model.truncated + self._table.truncated

    # --- vectors ----------------------------------------------------------------------------

    def encode_queries(self, queries: Sequence[str], *, show_progress: bool = False) -> csr_array:
        """Query vectors, float32, shape (len(queries), dim)."""
        with progress_bar("Encoding queries", len(queries), show=show_progress) as advance:
            rows = self._table.encode(queries, prompt=self._query_prompt, advance=advance)
        return vectors.from_arrays(*prune_rows(rows, self._query_pruning), self.dim)

    # --- saving -----------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write model, table and settings to a folder that sentence-transformers reads, too."""
        from safetensors.numpy import save_file

        out = Path(path)
        table = Module(STATIC, "query_0_SparseStaticEmbedding")
        documents = write_splade_side(out, self._documents.model, prefix="document")
        copy_tokenizer(self._table.folder, out / table.path)
        save_file({"weight": self._table.weights}, out / table.path / "model.safetensors")
        write_json(out / table.path / "config.json", {"frozen": True})
        modules = write_routes(out, {"query": [table], "document": documents})
        prompts = (self._documents.prompt, self._query_prompt)
        write_encoder(out, self, modules, prompts, (self._documents.pruning, self._query_pruning))
        copy_license(self._root, out)


def collection_idf(folder: str | Path, texts: Iterable[str]) -> dict[str, float]:
    """Weights of tokens for queries by how rare they are in a collection, where none were trained.

    ``ln(1 + (N - df + 0.5) / (df + 0.5))``, with df of N texts holding the token; tokens of no text
    are left out, as no query could find anything by them.

    Args:
        folder: of the model, for its tokenizer.
        texts: the collection, or a sample.
    """
    tokenizer: Any = load_tokenizer(find_folder(folder))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    frequencies: Counter[int] = Counter()
    n = 0
    batch: list[str] = []
    for text in (*texts, None):
        if text is not None:
            batch.append(text)
            n += 1
        if len(batch) == _BATCH or text is None:
            for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                frequencies.update(set(encoding.ids))
            batch = []
    return {
        tokenizer.id_to_token(column): log1p((n - df + 0.5) / (df + 0.5))
        for column, df in sorted(frequencies.items())
    }
