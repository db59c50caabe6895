"""``sparseret train graph``: vectors of the nodes of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sparseret.encoders.edge_list import Graph

__all__ = ["graph_command"]


def graph_command(
    source: Annotated[
        str,
        typer.Argument(
            help="Edges, name<TAB>name and where wanted <TAB>weight a line (also .gz, .zst, or - "
            "for standard input); or an adjacency matrix, a .npz file of scipy.sparse.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="The .npy file to write, a row a node; names go into a .txt file beside it.",
            show_default=False,
        ),
    ],
    components: Annotated[int, typer.Option(min=1, help="Numbers of a vector.")] = 512,
    weights: Annotated[
        str, typer.Option(metavar="A1,A2,...", help="What steps 1, 2, ... along edges count.")
    ] = "0,0,1,6.67",
    beta: Annotated[
        float, typer.Option(help="Power of the degrees; negative tones popular nodes down.")
    ] = -0.64,
    density: Annotated[
        float | None,
        typer.Option(
            help="Share of the random matrix that is not zero.", show_default="1/sqrt(nodes)"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random matrix.")] = 0,
    directed: Annotated[
        bool, typer.Option("--directed", help="Edges lead from the first name to the second only.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads; the result is the same.")] = 1,
) -> None:
    """FastRP: a graph to dense vectors of its nodes, which codecs make codes of.

    sparseret train graph edges.tsv --out nodes.npy

    sparseret train codec expansion-hashing nodes.npy --out node-codec

    sparseret vectors index nodes.npy --codec node-codec --out nodes.idx

    sparseret vectors search nodes.idx --like "some node"
    """
    import numpy as np

    from sparseret.encoders.fastrp import FastRP
    from sparseret.errors import ConfigurationError

    settings = FastRP(
        components, _numbers(weights), beta, density="auto" if density is None else density,
        seed=seed,
    )  # fmt: skip
    if out.suffix != ".npy":
        raise typer.BadParameter(f"--out {out}: give a name that ends in .npy")
    names = out.with_suffix(".txt")
    for file in (out, names):
        if file.exists():
            raise ConfigurationError(f"{file} exists: choose another")
    graph = _read(source, directed=directed)
    made = settings.fit_transform(graph.adjacency, threads=threads)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(out, made)
    names.write_text("".join(f"{name}\n" for name in graph.names), "utf-8")
    edges = graph.adjacency.nnz
    print(f"{out}: {len(made):,} nodes of {edges:,} entries, {components} components; {names}")


def _read(source: str, *, directed: bool) -> Graph:
    from sparseret.encoders.edge_list import Graph, read_edges

    if not source.endswith(".npz"):
        return read_edges(source, directed=directed)
    if directed:
        raise typer.BadParameter("--directed goes with edges; a matrix is taken as it is")
    from sparseret.encoders.codecs import open_vectors

    adjacency: Any = open_vectors(source)
    return Graph([str(node) for node in range(adjacency.shape[0])], adjacency)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: expected numbers such as 0,0,1,6.67") from error
