"""What clients send to the exporter's own port: heads of requests, and queries of the API."""

from __future__ import annotations

import json
import re
import socket
from functools import cache
from urllib.parse import quote

from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, RequestStartLine

from exporter.show.overview import BadQueryError, query_of
from exporter.web.server.exchange import _request
from tests.fuzz.target import Target
from tests.support.told import Told, ToldDaemon

PATIENCE = 60.0
ALLOWED = frozenset({100, 200, 304, 400, 403, 404, 405, 413, 414, 417, 421, 431, 501, 505})
"""No request may cause an error in the exporter (500) or make other requests wait (503)."""
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@cache
def daemon() -> ToldDaemon:
    """The daemon that gets the requests; it runs until `close`."""
    return ToldDaemon(one=Told({("g", "t"): [5, 6], ("é\n", "t"): [0, 1]})).__enter__()


def close() -> None:
    """Stop the daemon, if it was started."""
    if daemon.cache_info().currsize:
        daemon().__exit__(None, None, None)
        daemon.cache_clear()


def send(data: bytes) -> None:
    """Send `data`, read until the daemon closes the connection, then check its health."""
    port = daemon().port
    for asked in (data, b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
            said = _exchange(sock, asked)
        statuses = {int(status) for status in STATUS.findall(said)}
        assert statuses <= ALLOWED, said[:200]
        if said:
            assert STATUS.match(said), said[:200]
    assert b" 200 OK" in said


def _exchange(sock: socket.socket, data: bytes) -> bytes:
    try:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65_536), b""))
    except (BrokenPipeError, ConnectionResetError):
        return b""  # it was refused before all of it was sent


METHOD = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "get", "G\0T", "PRI", ""])
PATH = st.sampled_from(
    ["/", "/metrics", "/-/healthy", "/-/reload", "/api/v1/subscriptions?limit=1"]
)
PATH |= st.sampled_from(["*", "http://a/metrics", "//", "/%00", "/%ff", "/../x", "/" + "x" * 9_000])
VERSION = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.10", "HTTP", "http/1.1"])
HEADER = st.sampled_from(["Host: a", "Host: b", "Content-Length: 3", "Transfer-Encoding: chunked"])
HEADER |= st.sampled_from(["Content-Length: -1", "Connection: keep-alive", "Accept-Encoding: gzip"])
HEADER |= st.sampled_from(
    ["Expect: 100-continue", "Range: bytes=0-1", "Accept: */*;q=x", "x", " y"]
)
HEADER |= st.sampled_from(["If-None-Match: *", "Upgrade: h2c", "Authorization: Basic ====", "A: é"])
HEADER |= st.sampled_from(["Origin: null", "Sec-Fetch-Site: cross-site", "X: " + "y" * 70_000])
END = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"])


def _head(parts: tuple[str, str, str, list[str], str, str]) -> bytes:
    method, path, version, headers, end, body = parts
    lines = [f"{method} {path} {version}", *headers, ""]
    return (end.join(lines) + end + body).encode("latin-1")


HEAD = st.tuples(
    METHOD,
    PATH,
    VERSION,
    st.lists(HEADER, max_size=4),
    END,
    st.sampled_from(["", "abc", "0\r\n\r\n"]),
).map(_head)
HEADS = st.lists(HEAD, min_size=1, max_size=3).map(b"".join)


def ask(data: bytes) -> None:
    """Query the API with `data`."""
    target = "/api/v1/subscriptions?" + data.decode("latin-1")
    request = _request(RequestStartLine("GET", target, "HTTP/1.1"), HTTPHeaders())
    if request is None:
        return
    assert daemon().daemon is not None
    try:
        query = query_of(request.query)
    except BadQueryError as error:
        assert len(str(error)) < 1_000  # noqa: PT017
        return
    running = daemon().daemon
    assert running is not None
    answer = running.overview(query)
    json.dumps(answer).encode()
    assert len(answer["subscriptions"]) <= answer["matching"] <= answer["total"]


KEY = st.sampled_from(
    ["limit", "filter", "group", "status", "partitions", "history", "text", "vhost", "x"]
)
VALUE = st.sampled_from(
    ["1", "0", "true", "lag,at", "9" * 30, "-1", "", "g", "é", "bad"]
) | st.text(max_size=4)
PAIR = st.tuples(KEY, VALUE).map(
    lambda pair: f"{pair[0]}={quote(pair[1], errors='surrogatepass')}".encode()
)
QUERY = st.lists(PAIR, max_size=4).map(b"&".join)

TARGETS = (
    Target("http-head", send, HEADS, examples=150),
    Target("api-query", ask, QUERY, examples=150),
)
