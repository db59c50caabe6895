"""Encoding endpoints that clients of text-embeddings-inference (TEI) work with unchanged.

Statuses and bodies of errors are TEI's: 400 for nothing given, 413 for too much, 422 for what has
no tokens, 424 where there is no such model, 429 where it is busy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.responses import Response

from sparseret.documents import Document
from sparseret.protocols import Candidates, DenseEncoder, Encoder
from sparseret.serve import tei_models as models
from sparseret.serve.bodies import JSON, DirectRoute, takes
from sparseret.serve.problems import Problem, responses
from sparseret.serve.service import Service
from sparseret.serve.tokens import Tokens

__all__ = ["tei_routes"]

_ENCODING = responses(400, 415, 422, 424)


def tei_routes(service: Service) -> APIRouter:
    """Routes for encoding, scoring and tokenizing."""
    router = APIRouter(tags=["encoding"], route_class=DirectRoute)

    @router.post(
        "/embed_sparse",
        summary="Encode texts as sparse vectors",
        responses={200: {"model": models.EmbedSparseAnswer}, **_ENCODING},
        openapi_extra=takes(models.EmbedSparseRequest, {"text": {"inputs": "lift of a wing"}}),
    )
    async def embed_sparse(request: Request) -> Response:
        wanted = await service.body(request, models.EmbedSparseRequest)
        texts = _texts(wanted.inputs, service.settings.max_inputs)
        encoder = service.sparse_encoder()

        def encode() -> Response:
            rows = _read(encoder, texts, wanted)
            found = (
                encoder.encode_queries(rows) if _query(wanted) else encoder.encode_documents(rows)
            )
            vectors = [
                [
                    {"index": column, "value": value}
                    for column, value in zip(
                        found.indices[a:b].tolist(), found.data[a:b].tolist(), strict=True
                    )
                ]
                for a, b in zip(found.indptr, found.indptr[1:], strict=False)
            ]
            return _json(vectors)

        return await service.read(request, lambda _: encode())

    @router.post(
        "/embed",
        summary="Encode texts as dense vectors",
        responses={200: {"model": models.EmbedAnswer}, **_ENCODING},
        openapi_extra=takes(models.EmbedRequest, {"text": {"inputs": ["lift", "drag"]}}),
    )
    async def embed(request: Request) -> Response:
        wanted = await service.body(request, models.EmbedRequest)
        texts = _texts(wanted.inputs, service.settings.max_inputs)
        encoder = service.dense_encoder()
        if wanted.dimensions is not None and wanted.dimensions > encoder.dim:
            raise Problem(
                413, "Validation", f"dimensions = {wanted.dimensions} is above {encoder.dim}"
            )

        def encode() -> Response:
            rows = _read(encoder, texts, wanted)
            found = (
                encoder.encode_queries(rows) if _query(wanted) else encoder.encode_documents(rows)
            )
            found = found[:, : wanted.dimensions]
            vectors = (_unit(found) if wanted.normalize else found).tolist()
            return _json(vectors)

        return await service.read(request, lambda _: encode())

    # Where some clients of TEI send texts, without a path.
    router.add_api_route("/", embed, methods=["POST"], include_in_schema=False)

    @router.post(
        "/rerank",
        summary="Rate texts for a query",
        responses={200: {"model": models.RerankAnswer}, **_ENCODING},
        openapi_extra=takes(
            models.RerankRequest, {"two": {"query": "lift", "texts": ["a wing", "a jet"]}}
        ),
    )
    async def rerank(request: Request) -> Response:
        wanted = await service.body(request, models.RerankRequest)
        texts = _texts(wanted.texts, service.settings.max_inputs, name="texts")
        reranker = service.reranker
        if reranker is None:
            raise Problem(424, "Backend", "no model rates texts here: give --rerank FOLDER")
        if wanted.raw_scores:
            raise Problem(
                422, "Validation", "raw_scores: scores are those of the model's own activation"
            )

        def rate() -> Response:
            documents = [Document(str(i), text) for i, text in enumerate(texts)]
            before = np.zeros(len(texts), np.float32)
            parts = list(reranker.rescore(Candidates(wanted.query, documents, before)))
            scores = np.concatenate(parts).astype(np.float64)
            ranks = [
                models.Rank(
                    index=int(i),
                    score=float(scores[i]),
                    text=texts[i] if wanted.return_text else None,
                )
                for i in np.argsort(-scores, kind="stable")
            ]
            return _answer(models.RerankAnswer(ranks))

        return await service.read(request, lambda _: rate())

    @router.post(
        "/tokenize",
        summary="Cut texts into the tokens of the model",
        responses={200: {"model": models.TokenizeAnswer}, **_ENCODING},
        openapi_extra=takes(models.TokenizeRequest, {"text": {"inputs": "lift of a wing"}}),
    )
    async def tokenize(request: Request) -> Response:
        wanted = await service.body(request, models.TokenizeRequest)
        texts = _texts(wanted.inputs, service.settings.max_inputs)
        tokens = _tokens(service)

        def cut() -> Response:
            read = [tokens.read(text, special=wanted.add_special_tokens) for text in texts]
            made = [[models.SimpleToken(**token._asdict()) for token in of] for of in read]
            return _answer(models.TokenizeAnswer(made))

        return await service.read(request, lambda _: cut())

    return router


def _answer(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type=JSON)


def _json(vectors: list[Any]) -> Response:
    """Without pydantic, which would look at each of many numbers."""
    return Response(json.dumps(vectors), media_type=JSON)


def _texts(
    inputs: str | Sequence[str | int | list[int]], limit: int, name: str = "inputs"
) -> list[str]:
    """The texts of a request.

    Raises:
        Problem: none, more than the limit, an empty one, or ids of tokens.
    """
    given = [inputs] if isinstance(inputs, str) else inputs
    texts = [each for each in given if isinstance(each, str)]
    if len(texts) < len(given):
        raise Problem(422, "Tokenizer", f"`{name}`: ids of tokens are not taken: send texts")
    if not texts or not all(texts):
        raise Problem(400, "Empty", f"`{name}` cannot be empty")
    if len(texts) > limit:
        raise Problem(
            413, "Validation", f"batch size {len(texts)} > maximum allowed batch size {limit}"
        )
    return texts


def _read(
    encoder: Encoder | DenseEncoder, texts: list[str], wanted: models.EmbedSparseRequest
) -> list[str]:
    """Texts as the encoder is to read them.

    Raises:
        Problem: one that is too long, and must not be cut.
    """
    tokens = Tokens.of(encoder)
    if tokens is None or (wanted.truncate and wanted.truncation_direction.lower() == "right"):
        return texts  # the encoder cuts them itself
    if wanted.truncate:
        return [tokens.keep_end(text) for text in texts]
    for text in texts:
        given = tokens.count(text)
        if given > tokens.max_length:
            raise Problem(
                413, "Validation",
                f"`inputs` must have less than {tokens.max_length} tokens. Given: {given}",
            )  # fmt: skip
    return texts


def _query(wanted: models.EmbedSparseRequest) -> bool:
    if wanted.prompt_name in (None, "document", "passage"):
        return False
    if wanted.prompt_name == "query":
        return True
    raise Problem(422, "Validation", 'prompt_name: "query" or "document"')


def _tokens(service: Service) -> Tokens:
    for encoder in service.encoders_served():
        if (tokens := Tokens.of(encoder)) is not None:
            return tokens
    raise Problem(424, "Backend", "no model with a tokenizer is served; /encode names terms")


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    made: NDArray[np.float32] = (rows / np.where(norms == 0, 1, norms)).astype(np.float32)
    return made
