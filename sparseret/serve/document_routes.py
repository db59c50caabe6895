"""``/indexes/{index}/documents``: bring, replace, read and delete documents."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from sparseret.readers import parse_documents
from sparseret.retriever import Retriever
from sparseret.serve import models
from sparseret.serve.bodies import NDJSON, answer, read_body, takes
from sparseret.serve.problems import Problem, responses
from sparseret.serve.search_routes import INDEX
from sparseret.serve.service import Service

__all__ = ["document_routes"]

_EXAMPLES = {"one document": {"id": "n1", "text": "Lift of a wing", "year": 1954}}
DocumentId = Annotated[str, Path(description="Id of the document.", examples=["n1"])]
How = Annotated[
    Literal["add", "upsert"],
    Query(description='"add" refuses ids that are there already, "upsert" replaces them.'),
]


def document_routes(service: Service) -> APIRouter:
    """Routes about documents. A request that changes is one commit: all of it or nothing."""
    router = APIRouter(tags=["documents"])
    writing = [Depends(service.check_write)]

    @router.post(
        "/indexes/{index}/documents",
        summary="Add or replace documents, one JSON object a line; committed when answered",
        dependencies=writing,
        responses={
            200: {"model": models.Added},
            **responses(404, 409, 415, 422, 424, 507),
        },
        openapi_extra=takes(models.DocumentIn, _EXAMPLES, NDJSON),
    )
    async def add_documents(request: Request, index: str = INDEX, mode: How = "add") -> Response:
        served, settings = service.indexes[index], service.settings
        raw = await read_body(request, settings.max_documents_body, NDJSON)

        def add(retriever: Retriever) -> int:
            documents = parse_documents(raw.splitlines(), "line")
            return retriever.add(documents) if mode == "add" else retriever.update(documents)

        accepted = await service.write(request, served, add)
        return answer(models.Added(accepted=accepted, documents=len(served.retriever)))

    @router.post(
        "/indexes/{index}/documents/delete",
        summary="Delete documents by their ids; committed when answered",
        dependencies=writing,
        responses={200: {"model": models.Deleted}, **responses(404, 409, 415, 422, 507)},
        openapi_extra=takes(models.DeleteRequest, {"two": {"ids": ["n1", "n2"]}}),
    )
    async def delete_documents(request: Request, index: str = INDEX) -> Response:
        served = service.indexes[index]
        wanted = await service.body(request, models.DeleteRequest)
        deleted = await service.write(request, served, lambda r: r.delete(wanted.ids))
        return answer(models.Deleted(deleted=deleted, documents=len(served.retriever)))

    @router.get(
        "/indexes/{index}/documents/{id:path}",
        summary="Read a document",
        responses={200: {"model": models.DocumentBody}, **responses(404, 422)},
    )
    async def read_document(request: Request, id: DocumentId, index: str = INDEX) -> Response:
        retriever = service.indexes[index].retriever
        document = await service.read(request, lambda _: retriever.document(id))
        if document is None:
            raise Problem(404, "NotFound", f"no document {id!r} in {index}")
        return answer(
            models.DocumentBody(
                id=document.id,
                title=document.title,
                text=document.text,
                metadata=dict(document.metadata),
            )
        )

    @router.delete(
        "/indexes/{index}/documents/{id:path}",
        summary="Delete a document; committed when answered",
        dependencies=writing,
        responses={200: {"model": models.Deleted}, **responses(404, 409, 422, 507)},
    )
    async def delete_document(request: Request, id: DocumentId, index: str = INDEX) -> Response:
        served = service.indexes[index]
        deleted = await service.write(request, served, lambda r: r.delete([id]))
        if not deleted:
            raise Problem(404, "NotFound", f"no document {id!r} in {index}")
        return answer(models.Deleted(deleted=deleted, documents=len(served.retriever)))

    return router
