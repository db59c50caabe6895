"""Binary codes of records with a text, a number and a category, searched by shared cells.

The index is complete and exact, and one file; theory tells how many shared cells are no chance.
"""

import tempfile
from pathlib import Path

from scipy.sparse import csr_array, hstack

from sparseret.encoders.sdr_text import SdrTextEncoder
from sparseret.encoders.sdr_theory import choose_threshold
from sparseret.encoders.sdr_values import CategorySdr, ScalarSdr
from sparseret.indexers.sdr import SdrIndex

RECORDS = [
    ("wing flutter at transonic speed", 23.5, "report"),
    ("flutter of panels in supersonic flow", 22.0, "report"),
    ("panel flutter", 11.0, "letter"),
    ("heat transfer to a flat plate", 23.0, "thesis"),
]

TEXTS = SdrTextEncoder(cells=2048, active=64)
HOURS = ScalarSdr(0, 24, cells=240, active=31, periodic=True)
KINDS = CategorySdr(cells=400, active=21)


def codes(records: list[tuple[str, float, str]]) -> csr_array:
    """Three codes side by side, shape (len(records), 2688)."""
    texts, hours, kinds = map(list, zip(*records, strict=True))
    parts = [TEXTS.encode_documents(texts), HOURS.encode(hours), KINDS.encode(kinds)]
    return csr_array(hstack(parts, format="csr"))


def main() -> None:
    query = codes([("panel flutter", 0.5, "report")])
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "records.sdr"
        SdrIndex.build(codes(RECORDS)).save(file)
        index = SdrIndex.load(file)
    numbers, overlaps = index.search(query, k=3)
    print(f"{len(index)} codes of {index.n_cells} cells, {query.nnz} active in the query")
    for number, shared in zip(numbers[0], overlaps[0], strict=True):
        print(f"{shared:>3} shared cells  {RECORDS[number]}")
    chance = choose_threshold(index.n_cells, query.nnz, target=1e-6)
    print(f"{chance} and more are shared by chance once in a million")


if __name__ == "__main__":
    main()
