"""Words for latents: which terms stand in the documents that a latent is active in.

Kept as ``labels.json`` beside a codec, so that explanations have words instead of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparseret.analysis import Analyzer
from sparseret.encoders.model_folder import read_json
from sparseret.encoders.saved_folder import write_json
from sparseret.errors import ConfigurationError, VectorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["label_latents", "latent_label", "read_labels", "write_labels"]

_FILE = "labels.json"


def label_latents(
    codes: csr_array, texts: Sequence[str], *, n_terms: int = 3, least: int = 3
) -> dict[int, str]:
    """Labels of latents: the terms that tell most about the documents a latent is active in.

    With p(t) the share of documents that hold term t, and p(t|l) that of the activation of latent l
    which falls on them, terms are ordered by p(t|l) log(p(t|l) / p(t)), a term's part of the
    Kullback-Leibler divergence between the two.

    Args:
        codes: of documents, non-negative, shape (n, dim).
        texts: of the same documents.
        n_terms: terms of a label.
        least: documents that a latent must be active in, and that a term must occur in.

    Returns:
        Label of each latent that is active in enough of them.

    Raises:
        VectorError: there are not as many texts as codes.
    """
    from scipy.sparse import csr_array as csr

    if codes.shape[0] != len(texts):
        raise VectorError(f"{codes.shape[0]} codes and {len(texts)} texts: they must be parallel")
    analyzer = Analyzer(stem=False)
    known: dict[str, int] = {}
    indptr, indices = [0], []
    for text in texts:
        terms = sorted({known.setdefault(term, len(known)) for term in analyzer(text)})
        indices += terms
        indptr.append(len(indices))
    words = list(known)
    shape = (len(texts), max(1, len(words)))
    holds = csr((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
    frequency = np.bincount(indices, minlength=shape[1])
    common = np.log(np.maximum(frequency, 1) / max(1, len(texts)))
    together = (codes.T.tocsr() @ holds).tocsr()
    active = np.bincount(codes.indices, minlength=codes.shape[1])
    totals = np.asarray(codes.sum(axis=0)).ravel()
    labels = {}
    for latent in np.flatnonzero((active >= least) & (totals > 0)).tolist():
        inside = slice(together.indptr[latent], together.indptr[latent + 1])
        columns = together.indices[inside]
        share = together.data[inside] / totals[latent]
        told = np.where(frequency[columns] >= least, share * (np.log(share) - common[columns]), 0)
        order = np.lexsort((columns, -told))[:n_terms]
        chosen = [words[columns[place]] for place in order if told[place] > 0]
        if chosen:
            labels[latent] = ", ".join(chosen)
    return labels


def latent_label(labels: Mapping[int, str], column: int, dim: int) -> str:
    """Label of a latent of dim, or its number where it has none.

    Raises:
        KeyError: there is no such column.
    """
    if not 0 <= column < dim:
        raise KeyError(column)
    return labels.get(column, f"latent {column}")


def read_labels(folder: Path) -> dict[int, str]:
    """Labels kept in a folder; none where it has no file of them.

    Raises:
        ConfigurationError: the file does not hold labels.
    """
    file = folder / _FILE
    if not file.exists():
        return {}
    try:
        return {int(column): str(label) for column, label in read_json(file).items()}
    except (AttributeError, ValueError) as error:
        raise ConfigurationError(f"{file} does not hold labels of latents: {error}") from error


def write_labels(folder: Path, labels: Mapping[int, str]) -> None:
    """Keep labels in a folder; without any, nothing is written."""
    if labels:
        write_json(folder / _FILE, {str(column): labels[column] for column in sorted(labels)})
