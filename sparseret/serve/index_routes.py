"""``/indexes``: what there is, new ones, numbers, merging and snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from sparseret.errors import ConfigurationError
from sparseret.indexers.backup import snapshot_files, tar_blocks, tar_size
from sparseret.indexers.info import index_info
from sparseret.legs import AnyEncoder
from sparseret.retriever import Retriever
from sparseret.serve import models
from sparseret.serve.bodies import answer, takes
from sparseret.serve.problems import responses
from sparseret.serve.search_routes import INDEX
from sparseret.serve.served import ServedIndex
from sparseret.serve.service import Service

__all__ = ["index_routes"]

_EXAMPLES = {
    "words": {"name": "news", "filter_fields": ["year"]},
    "hybrid": {"name": "mixed", "legs": {"words": "bm25", "meaning": "minilm"}},
}


def index_routes(service: Service) -> APIRouter:
    """Routes about whole indexes."""
    router = APIRouter(tags=["indexes"])
    writing = [Depends(service.check_write)]

    @router.get(
        "/indexes",
        summary="List indexes, and the encoders that new ones can be made with",
        responses={200: {"model": models.Indexes}, **responses()},
    )
    async def list_indexes() -> Response:
        summaries = [_summary(each) for each in service.indexes.all()]
        offered = ["bm25", *service.encoders] if service.indexes.can_create else []
        return answer(models.Indexes(indexes=summaries, encoders=list(dict.fromkeys(offered))))

    @router.post(
        "/indexes",
        summary="Make an empty index",
        status_code=201,
        dependencies=writing,
        responses={201: {"model": models.Created}, **responses(409, 415, 422, 424, 507)},
        openapi_extra=takes(models.CreateRequest, _EXAMPLES),
    )
    async def create_index(request: Request) -> Response:
        wanted = await service.body(request, models.CreateRequest)
        await service.writes.run(request, lambda _: _create(service, wanted))
        return answer(models.Created(name=wanted.name), 201)

    @router.get(
        "/indexes/{index}",
        summary="An index in numbers",
        responses={200: {"model": models.IndexStats}, **responses(404, 422)},
    )
    async def read_index(request: Request, index: str = INDEX) -> Response:
        served = service.indexes[index]
        return await service.read(request, lambda _: answer(_stats(served)))

    @router.post(
        "/indexes/{index}/merge",
        summary="Merge segments, and drop what deleted documents left",
        dependencies=writing,
        responses={200: {"model": models.Merged}, **responses(404, 409, 422, 507)},
    )
    async def merge_index(request: Request, index: str = INDEX) -> Response:
        served = service.indexes[index]

        def merge(retriever: Retriever) -> models.Merged:
            return models.Merged(merges=retriever.merge(), documents=len(retriever))

        return answer(await service.write(request, served, merge))

    @router.get(
        "/indexes/{index}/snapshot",
        summary="Download the index as of its last commit, as a tar file of its folder",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"application/x-tar": {}}, "description": "A tar file"},
            **responses(404, 422, 507),
        },
    )
    async def download_snapshot(request: Request, index: str = INDEX) -> Response:
        served = service.indexes[index]
        return await _snapshot(service, request, served)

    return router


def _summary(served: ServedIndex) -> models.IndexSummary:
    retriever = served.retriever
    return models.IndexSummary(
        name=served.name,
        documents=len(retriever),
        description=retriever.description,
        legs=retriever.legs,
    )


def _stats(served: ServedIndex) -> models.IndexStats:
    retriever = served.retriever
    info, encoders = index_info(retriever.index), retriever.encoders
    legs = [
        models.LegStats(
            name=leg.name,
            kind=leg.kind,
            encoder=encoders[leg.name].description if leg.name in encoders else "not loaded",
            nnz=leg.nnz,
            bytes=leg.segment_bytes,
            segments=len(leg.segments),
            calibrated=leg.calibration is not None,
        )
        for leg in info.legs
    ]
    return models.IndexStats(
        name=served.name,
        documents=info.documents,
        tombstones=info.tombstones,
        terms=info.terms,
        mean_length=info.mean_length,
        bytes=info.bytes,
        format_version=info.format_version,
        order_by=info.order_by,
        legs=legs,
    )


def _create(service: Service, wanted: models.CreateRequest) -> None:
    """Make an index of encoders that the service offers: clients name none of their own."""
    if wanted.encoder is not None and wanted.legs is not None:
        raise ConfigurationError("give encoder or legs, not both")

    def offered(name: str) -> AnyEncoder | str:
        if name in service.encoders:
            return service.encoders[name]
        if name == "bm25":
            return name
        there = ", ".join(dict.fromkeys(["bm25", *service.encoders]))
        raise ConfigurationError(f"no encoder {name!r} is offered; there are: {there}")

    encoders = (
        offered(wanted.encoder or "bm25")
        if wanted.legs is None
        else {leg: offered(name) for leg, name in wanted.legs.items()}
    )
    service.indexes.create(wanted.name, encoders, filter_fields=wanted.filter_fields)


async def _snapshot(service: Service, request: Request, served: ServedIndex) -> Response:
    held = snapshot_files(served.retriever.path)
    files = await service.read(request, lambda _: held.__enter__())
    blocks = tar_blocks(files, served.name)

    async def stream() -> AsyncIterator[bytes]:
        try:
            while (block := await run_in_threadpool(next, blocks, None)) is not None:
                yield block
        finally:
            held.__exit__(None, None, None)

    headers = {
        "Content-Disposition": f'attachment; filename="{served.name}.tar"',
        "Content-Length": str(tar_size(files, served.name)),
    }
    return StreamingResponse(stream(), 200, headers, "application/x-tar")
