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

def search(
    segments: list[Segment],
    allowed: list[NDArray[np.uint64] | None],
    indptr: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...
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
