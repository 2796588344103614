"""The HTTP routes of the daemon: metrics, the page and its JSON, health, reload."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from exporter.show.exposition import Exposition, accepts_gzip
from exporter.show.overview import BadQueryError, Query, query_of
from exporter.web.page import page_routes
from exporter.web.server import Request, Response, Route

TEXT = "text/plain; charset=utf-8"
GET, POST = frozenset({"GET"}), frozenset({"POST"})
PACKED_FROM = 4_096
"""Responses of at least this many bytes are compressed."""


class RoutedDaemon(Protocol):
    """The part of the daemon that the routes use."""

    exposition: Exposition

    @property
    def unread(self) -> int:
        """Number of sources that have not been read yet."""
        ...

    async def unhealthy(self) -> Mapping[str, str]:
        """Return the loops that are stuck, and what is wrong with each."""
        ...

    def overview(self, query: Query) -> dict[str, Any]:
        """Return the sources and the selected subscriptions as JSON data."""
        ...

    def reload(self) -> str | None:
        """Reload the config; return the error if it was rejected."""
        ...


def routes(daemon: RoutedDaemon, *, reload_endpoint: bool) -> list[Route]:
    """Return all routes of a daemon."""
    found = [
        *page_routes(),
        Route("/metrics", GET, partial(_metrics, daemon)),
        Route("/api/v1/subscriptions", GET, partial(_subscriptions, daemon)),
        # Public, so that whoever starts the process can check it without a password.
        Route("/-/healthy", GET, partial(_healthy, daemon), public=True),
        Route("/-/ready", GET, partial(_ready, daemon), public=True),
    ]
    if reload_endpoint:
        found.append(Route("/-/reload", POST, partial(_reload, daemon), lane="reload"))
    return found


async def _metrics(daemon: RoutedDaemon, request: Request) -> Response:
    headers = request.headers
    scrape = daemon.exposition.response(
        headers.get("accept", ""), headers.get("accept-encoding", "")
    )
    extra: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
    if scrape.encoding is not None:
        extra += (("Content-Encoding", scrape.encoding),)
    return Response(200, scrape.content_type, scrape.chunks, extra)


async def _healthy(daemon: RoutedDaemon, _: Request) -> Response:
    faults = await daemon.unhealthy()
    if faults:
        lines = "".join(f"{name}: {fault}\n" for name, fault in sorted(faults.items()))
        return Response(503, TEXT, [f"unhealthy\n{lines}".encode()])
    return Response(200, TEXT, [b"healthy\n"])


async def _ready(daemon: RoutedDaemon, _: Request) -> Response:
    if daemon.unread:
        return Response(503, TEXT, [f"{daemon.unread} sources not read yet\n".encode()])
    return Response(200, TEXT, [b"ready\n"])


def _subscriptions(daemon: RoutedDaemon, request: Request) -> Response:
    try:
        query = query_of(request.query)
    except BadQueryError as error:
        return Response(400, TEXT, [f"{error}\n".encode()])
    text = json.dumps(daemon.overview(query), ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "backslashreplace")
    headers: tuple[tuple[str, str], ...] = (
        ("Cache-Control", "no-store"),
        ("Vary", "Accept-Encoding"),
    )
    if len(body) > PACKED_FROM and accepts_gzip(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, 1)
        headers += (("Content-Encoding", "gzip"),)
    return Response(200, "application/json", [body], headers)


def _reload(daemon: RoutedDaemon, _: Request) -> Response:
    refused = daemon.reload()
    if refused is not None:
        return Response(500, TEXT, [f"{refused}\n".encode()])
    return Response(200, TEXT, [b"reloaded\n"])
