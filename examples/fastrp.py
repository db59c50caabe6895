"""Embed the nodes of a graph with planted communities, hash them, and find a node's neighbours."""

import numpy as np
from scipy.sparse import csr_array

from sparseret.encoders.expansion_hashing import ExpansionHashing
from sparseret.encoders.fastrp import FastRP


def planted(n_communities: int, size: int, inside: float, across: float) -> csr_array:
    """An undirected graph: nodes of a community are linked more often than others."""
    community = np.repeat(np.arange(n_communities), size)
    rate = np.where(community[:, None] == community, inside, across)
    upper = np.triu(np.random.default_rng(0).random(rate.shape) < rate, 1)
    return csr_array((upper | upper.T).astype(np.float32))


def main() -> None:
    graph = planted(4, 150, inside=0.1, across=0.02)
    embedding = FastRP(n_components=128, weights=(0, 1, 1)).fit_transform(graph)
    print(f"{graph.shape[0]} nodes, {graph.nnz // 2} edges -> {embedding.shape[1]} numbers a node")

    codes = ExpansionHashing(128, winners=64).transform(embedding)
    shared = (codes @ codes[[0]].T).toarray().ravel()
    nearest = np.argsort(-shared, kind="stable")[1:21]
    print(f"of the 20 nodes nearest to node 0, {np.sum(nearest < 150)} are of its community")


if __name__ == "__main__":
    main()
