"""The requests and responses of one connection (HTTP/1.1)."""

import math
import re
import time
from collections.abc import Mapping
from typing import Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from exporter.web.server.connection import ClientConnection
from exporter.web.server.limits import Limits
from exporter.web.server.messages import Request, Response, head, pieces
from exporter.web.server.stream import Stream
from exporter.web.webconfig import WebSettings

log = structlog.get_logger(__name__)

MOST_HEADERS = 100
MOST_QUERY_KEYS = 100
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_ABSOLUTE = ("http://", "https://")


class Site(Protocol):
    """Answers requests within limits."""

    @property
    def limits(self) -> Limits:
        """The limits for clients."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether every connection is closed after its response."""
        ...

    async def respond(self, request: Request, client: str) -> tuple[Response, WebSettings | None]:
        """Return the response, and the web settings in use."""
        ...


class Requests(HTTPServerConnectionDelegate):
    """The requests of one connection, one after the other."""

    def __init__(self, site: Site, connection: ClientConnection) -> None:
        """Respond on `connection` with the responses of `site`."""
        self._site, self._connection = site, connection

    def start_request(
        self,
        server_conn: object,  # noqa: ARG002 # the base class's name
        request_conn: HTTPConnection,
    ) -> HTTPMessageDelegate:
        """Return the delegate for the next request."""
        return Exchange(self._site, self._connection, cast("HTTP1Connection", request_conn))

    def on_close(self, server_conn: object) -> None:
        """Do nothing: the stream's watcher is informed."""


class Exchange(HTTPMessageDelegate):
    """One request and its response."""

    def __init__(self, site: Site, connection: ClientConnection, message: HTTP1Connection) -> None:
        """Wait for the request."""
        self._site, self._connection, self._message = site, connection, message
        self._request: Request | None = None
        self._keep = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Reject an invalid request before any of its body is read."""
        line = cast("RequestStartLine", start_line)
        status = _fault(headers, self._site.limits)
        if status is None:
            self._request = _request(line, headers)
            status = 400 if self._request is None else None
        if status is not None:
            self._message.detach()
            self._connection.refuse(status)
            return
        self._keep = _keeps(line, headers)
        self._connection.doing = "body"

    def data_received(self, chunk: bytes) -> None:
        """Ignore the body."""

    def finish(self) -> None:
        """Respond: the request is complete."""
        self._connection.begin("handler", math.inf)
        self._connection.spawn(self._answer())

    def on_connection_close(self) -> None:
        """Do nothing: the stream's watcher is informed."""

    async def _answer(self) -> None:
        stream, connection = cast("Stream", self._message.stream), self._connection
        if self._request is None:
            return
        try:
            response, settings = await self._site.respond(self._request, connection.client)
            await self._send(stream, response, settings)
        except StreamClosedError as error:
            log.debug("http.client_lost", client=connection.client, reason=str(error.real_error))
            stream.close()
        except Exception:
            log.exception("http.connection_failed", client=connection.client)
            connection.cut()

    async def _send(self, stream: Stream, response: Response, settings: WebSettings | None) -> None:
        connection, limits = self._connection, self._site.limits
        keep = self._keep and not self._site.stopping
        first = head(response, settings.headers if settings else (), keep=keep)
        chunks = () if self._request and self._request.method == "HEAD" else response.chunks
        connection.sending, connection.sending_since = chunks, time.monotonic()
        end = connection.sending_since + limits.response_seconds
        stream.set_nodelay(True)  # tornado's signature
        for piece in pieces(first, chunks):
            connection.begin("response", min(limits.piece_seconds, end - time.monotonic()))
            await stream.write(piece)
        connection.sending = ()
        if not keep:
            connection.end()
            return
        connection.begin("idle", limits.idle_seconds)
        self._message.finish()


def _fault(headers: HTTPHeaders, limits: Limits) -> int | None:
    """Return the status for an invalid head, or None.

    Ambiguous requests are rejected. Otherwise another server in front of this one might read them
    differently, and then also the next request on the connection.
    """
    if sum(1 for _ in headers.get_all()) > MOST_HEADERS:
        return 431
    lengths = set(headers.get_list("Content-Length"))
    coded = "Transfer-Encoding" in headers
    hosts = headers.get_list("Host")
    if len(hosts) > 1 or len(lengths) > 1 or (coded and lengths):
        return 400
    if not all(map(_HOST.fullmatch, hosts)):
        return 400
    if coded:
        return 501
    return _length_fault(lengths.pop(), limits) if lengths else None


def _length_fault(length: str, limits: Limits) -> int | None:
    if not (length.isascii() and length.isdecimal()):
        return 400
    too_long = len(length) > len(str(limits.body_bytes)) or int(length) > limits.body_bytes
    return 413 if too_long else None


def _request(line: RequestStartLine, headers: HTTPHeaders) -> Request | None:
    """Return the request, or None if its target is invalid."""
    target, host = line.path, headers.get("Host")
    try:
        if target.lower().startswith(_ABSOLUTE):
            parts = urlsplit(target)
            if host is not None and host.lower() != parts.netloc.lower():
                return None
            path, query = parts.path, parts.query
        else:
            path, _, query = target.partition("?")
        if "#" in target:
            return None
        values = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_QUERY_KEYS))
    except ValueError:
        return None
    joined: Mapping[str, str] = {
        name.lower(): ", ".join(headers.get_list(name)) for name in headers
    }
    return Request(line.method, unquote(path) or "/", values, joined)


def _keeps(line: RequestStartLine, headers: HTTPHeaders) -> bool:
    """Return whether the client wants to keep the connection for its next request."""
    options = {option.strip() for option in headers.get("Connection", "").lower().split(",")}
    if line.version == "HTTP/1.0":
        return options == {"keep-alive"} and line.method in ("GET", "HEAD")
    return "close" not in options
