"""Search with conditions on the metadata, written as text and in Python.

Filters are applied before the ranking: the best k of the documents that satisfy them come back.
"""

import tempfile
from pathlib import Path

from sparseret import Document, Retriever, field

REPORTS = [
    Document(
        "n1", "Lift of a wing in a slipstream.", metadata={"year": 1954, "tags": ["wing", "lift"]}
    ),
    Document("n2", "Heat transfer to a blunt wing.", metadata={"year": 1958, "tags": ["heat"]}),
    Document("n3", "Flutter of a wing.", metadata={"year": 1961, "author": {"name": "Ann"}}),
    Document("n4", "A wing of unknown date."),
]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        # `filter_fields` gives a field an index of its own; filters work without it, too.
        path = Path(temporary) / "reports.idx"
        with Retriever.create(path, filter_fields=["year"]) as retriever:
            retriever.add(REPORTS)
            retriever.commit()
            for condition in (
                "year >= 1958",
                'tags contains "lift" or author.name = "Ann"',
                "not exists year",
                (field("year") >= 1955) & (field("year") < 1960),
                field("_id").isin(["n1", "n4"]),
            ):
                ids = [result.id for result in retriever.search("wing", filter=condition)]
                print(f"{condition!s:45} {' '.join(sorted(ids))}")


if __name__ == "__main__":
    main()
