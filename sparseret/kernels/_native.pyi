from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class CorruptSegment(RuntimeError): ...  # noqa: N818 - the name in C++

class Segment:
    def __init__(
        self,
        n_docs: int,
        window_bits: int,
        columns: NDArray[np.int32],
        column_ptr: NDArray[np.uint32],
        block_window: NDArray[np.uint16],
        block_ptr: NDArray[np.uint32],
        posting_docs: NDArray[np.uint16],
        posting_values: NDArray[Any],
        weights: NDArray[np.float32] | None,
    ) -> None: ...
    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]: ...

class ImpactSegment:
    def __init__(
        self,
        window_bits: int,
        columns: NDArray[np.int32],
        column_max: NDArray[np.float32],
        column_ptr: NDArray[np.uint32],
        lists: NDArray[np.uint32],
        words: NDArray[np.uint16],
        row_ptr: NDArray[np.int64],
        row_ranks: NDArray[Any],
        row_values: NDArray[Any],
        weights: NDArray[np.float32] | None,
    ) -> None: ...
    def document_frequencies(self, columns: NDArray[np.int32]) -> NDArray[np.int64]: ...

class ImpactBuilder:
    def __init__(self, column_max: NDArray[np.float32], window_bits: int) -> None: ...
    def add(
        self,
        row_ptr: NDArray[np.int64],
        ranks: NDArray[Any],
        weights: NDArray[np.float32],
        n_threads: int,
    ) -> NDArray[np.uint16]: ...
    def finish(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]: ...

class Collection:
    def __init__(
        self, segments: list[Segment | ImpactSegment], dim: int, is_signed: bool, largest: float
    ) -> None: ...
    def search(
        self,
        n_queries: int,
        n_columns: int,
        indptr: NDArray[Any],
        columns: NDArray[Any],
        values: NDArray[Any],
        k: int,
        allowed: Sequence[NDArray[np.uint64] | None] | None,
        begin: int,
        end: int,
        cut: float,
        candidates: int,
        n_threads: int,
    ) -> (
        tuple[
            NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.uint32], int, int
        ]
        | None
    ): ...

class VocabularyHead:
    def __init__(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32], exact: bool
    ) -> None: ...
    def pool(
        self,
        hidden: NDArray[np.float32],
        offsets: NDArray[np.int64],
        log_sum: bool,
        threshold: float,
        n_threads: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...

def code_scores(
    codes: NDArray[np.uint8], width: int, tables: NDArray[np.float32]
) -> NDArray[np.float32]: ...
def dense_products(
    rows: NDArray[np.float32], width: int, queries: NDArray[np.float32]
) -> NDArray[np.float32]: ...
def dense_products_half(
    rows: NDArray[np.uint16], width: int, queries: NDArray[np.float32]
) -> NDArray[np.float32]: ...
def top_k(
    rows: NDArray[np.float32], width: int, k: int, n_threads: int
) -> tuple[NDArray[np.int32], int]: ...
def above_deviations(
    rows: NDArray[np.float32], width: int, deviations: float, n_threads: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], int]: ...
def random_projection(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    n_components: int,
    density: int,
    seed: int,
    is_signed: bool,
    scale: float,
    n_threads: int,
) -> NDArray[np.float32]: ...

class SdrLists:
    def __init__(
        self,
        n_docs: int,
        n_cells: int,
        most_active: int,
        block_bits: int,
        docs: NDArray[np.uint16],
        ptr: NDArray[np.uint32],
        blocks: NDArray[np.int64],
    ) -> None: ...
    def search(
        self,
        indptr: NDArray[np.int64],
        columns: NDArray[np.int32],
        k: int,
        threshold: int,
        n_threads: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]: ...

class SdrBits:
    def __init__(self, n_docs: int, n_cells: int, words: NDArray[np.uint64]) -> None: ...
    def search(
        self,
        indptr: NDArray[np.int64],
        columns: NDArray[np.int32],
        k: int,
        threshold: int,
        n_threads: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]: ...

def build_sdr_lists(
    n_cells: int, block_bits: int, indptr: NDArray[np.int64], columns: NDArray[np.int32]
) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.int64]]: ...
def pack_sdr(
    n_cells: int, indptr: NDArray[np.int64], columns: NDArray[np.int32]
) -> NDArray[np.uint64]: ...
def rank_columns(
    columns: NDArray[np.int32], values: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[Any]]: ...
def invert(
    window_bits: int,
    row_ptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
) -> tuple[
    NDArray[np.int32],
    NDArray[np.uint32],
    NDArray[np.uint16],
    NDArray[np.uint32],
    NDArray[np.uint16],
    NDArray[Any],
]: ...
def codebook(
    row_ptr: NDArray[np.int64],
    values: NDArray[np.float32],
    lengths: NDArray[np.float32] | None,
    limit: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.float32]] | None: ...
def count_terms(
    run_ptr: NDArray[np.int64], tokens: NDArray[np.int32], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...
def instruction_sets() -> list[str]: ...
def use_instruction_set(name: str) -> None: ...
def is_canonical(
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    n_columns: int,
    is_signed: bool,
) -> bool: ...
