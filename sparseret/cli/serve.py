"""``sparseret serve``: indexes and encoders over HTTP."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from sparseret.cli.encoders import resolve_encoder
from sparseret.cli.options import parse_options

__all__ = ["serve_command"]


def serve_command(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]DIR...",
            help="Folders of indexes. A folder that is no index is one of indexes: all in it are "
            "served, and new ones are made there.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            "--encoder",
            "-e",
            metavar="[NAME=]ENCODER",
            help="Encoder for /embed_sparse, /embed and new indexes, such as splade:FOLDER; repeat "
            "it for more.",
            show_default="those of the indexes",
        ),
    ] = None,
    rerank: Annotated[
        Path | None,
        typer.Option(help="Folder of a cross-encoder for /rerank.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keys of clients (sparseret keys add FILE).", show_default=False
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Serve a public address without keys: anyone may write."),
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Host name by which clients call the service, behind a proxy for example; repeat "
            "it for more, or say * for any.",
            show_default="that of the address",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Origin of web pages that may use the service, such as https://example.org; "
            "repeat it for more.",
            show_default="none",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="KEY=VALUE",
            help="A limit (docs/service.md): threads, queue, timeout, max_body, max_k, max_inputs "
            "and more; repeat it for more.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve indexes and encoders over HTTP, with a page to search them at /.

    sparseret serve cranfield.idx

    sparseret serve news=/srv/news.idx /srv/indexes --encoder splade:/srv/splade

    sparseret serve /srv/indexes --host 0.0.0.0 --keys keys.json
    """
    from sparseret.errors import ConfigurationError, MissingExtraError

    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "serving over HTTP") from error
    from sparseret.serve.keys import KeyFile
    from sparseret.serve.server import run
    from sparseret.serve.service import Service
    from sparseret.serve.settings import Settings

    known = KeyFile(keys) if keys is not None else None
    if known is not None and not known.keys:
        raise ConfigurationError(
            f"{keys} has no key: make one with `sparseret keys add {keys} --name NAME`"
        )
    if not folders and not encoder:
        raise typer.BadParameter("give the folder of an index, or an --encoder")
    settings = Settings(
        host=host,
        port=port,
        hosts=tuple(name or ()),
        cors_origins=tuple(origin.lower().rstrip("/") for origin in cors_origin or ()),
        has_keys=known is not None,
        insecure=insecure,
        **_limits(limit),
    )
    encoders: dict[str, Any] = {}
    for given in encoder or ():
        head, colon, folder = given.partition(":")
        called, equals, kind = head.partition("=")
        chosen = resolve_encoder((kind if equals else head) + colon + folder)
        encoders[called if equals else chosen.partition(":")[0]] = chosen
    reranker = None
    if rerank is not None:
        from sparseret.encoders.cross_encoder import CrossEncoder

        reranker = CrossEncoder(rerank)
    service = Service(folders or [], settings, encoders=encoders, reranker=reranker, keys=known)
    service.warm()
    run(service)


def _limits(given: list[str] | None) -> dict[str, Any]:
    """Limits of the settings by their names."""
    from sparseret.serve.settings import Settings

    said = {"host", "port", "hosts", "cors_origins", "has_keys", "insecure"}
    known = {each.name for each in fields(Settings)} - said
    limits: dict[str, Any] = parse_options(given)
    for key, value in limits.items():
        if key not in known:
            raise typer.BadParameter(f"no limit {key!r}; there are {', '.join(sorted(known))}")
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise typer.BadParameter(f"--limit {key}: {value!r} is no number")
    return limits
