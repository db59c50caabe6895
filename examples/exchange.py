"""Write an index in formats of others, read it back, and compare what both find.

Formats whose extra is not installed say so.
"""

import tempfile
from pathlib import Path

from sparseret import Retriever, read_documents
from sparseret.errors import MissingExtraError
from sparseret.eval.datasets import load_dataset
from sparseret.exchange.anserini import export_anserini, import_anserini
from sparseret.exchange.ciff import export_ciff
from sparseret.exchange.ciff_import import import_ciff
from sparseret.exchange.parquet import export_parquet
from sparseret.exchange.parquet_import import import_parquet


def compare(one: Path, other: Path, *, terms: bool) -> str:
    """How many queries have the same ten best, and how far their scores are apart."""
    queries = [query.text for query in load_dataset("cranfield").queries]
    with Retriever.open(one) as a, Retriever.open(other) as b:
        expected = a.retrieve(queries)
        if terms:  # an index of weights takes terms as they are: cut and stemmed
            queries = [" ".join(a.encoder.analyzer(query)) for query in queries]
        found = b.retrieve(queries)
    same = sum(set(x) == set(y) for x, y in zip(expected.ids, found.ids, strict=True))
    error = max(
        float(abs(x - y).max(initial=0)) for x, y in zip(expected.scores, found.scores, strict=True)
    )
    return f"{same} of {len(queries)} queries: same ten best; scores differ by {error:.1e} at most"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        index = folder / "cranfield.idx"
        with Retriever.create(index) as retriever:
            n = retriever.add(
                record.document for record in read_documents(load_dataset("cranfield").corpus)
            )
        print(f"index: {n} documents")

        export_anserini(index, folder / "floats.jsonl.gz", scale=None)
        made = import_anserini(folder / "floats.jsonl.gz", folder / "floats.idx")
        told = compare(index, folder / "floats.idx", terms=True)
        print(f"anserini, floats: {made.n_documents} documents, {told}")

        export_anserini(index, folder / "whole.jsonl.gz")
        made = import_anserini(folder / "whole.jsonl.gz", folder / "whole.idx", scale=100)
        told = compare(index, folder / "whole.idx", terms=True)
        print(f"anserini, whole numbers: {made.n_documents} documents, {told}")

        try:
            export_ciff(index, folder / "cranfield.ciff")
            import_ciff(folder / "cranfield.ciff", folder / "ciff.idx")
            print(f"ciff: {compare(index, folder / 'ciff.idx', terms=False)}")
        except MissingExtraError as error:
            print(f"ciff: needs the extra {error.extra}")
        try:
            export_parquet(index, folder / "cranfield.parquet")
            import_parquet(folder / "cranfield.parquet", folder / "parquet.idx")
            print(f"parquet: {compare(index, folder / 'parquet.idx', terms=False)}")
        except MissingExtraError as error:
            print(f"parquet: needs the extra {error.extra}")


if __name__ == "__main__":
    main()
