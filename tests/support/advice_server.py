"""A made-up exporter that answers `/api/v1/subscriptions` with scaling advice."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

NAMES = ("source", "vhost", "destination", "group")


def advice(desired: int | None, present: int | None = None, **more: Any) -> dict[str, Any]:
    """The value of `scaling`."""
    return {
        "desired_consumers": desired,
        "consumers": present,
        "score": 1.2,
        "held": None,
        "valid": True,
        "reason": f"{desired}: 120/s come in",
        "minimum": 0,
        "maximum": 12,
        **more,
    }


def row(
    scaling: dict[str, Any] | None,
    group: str | None = "billing",
    destination: str = "orders",
    source: str = "shop",
    vhost: str | None = None,
) -> dict[str, Any]:
    """A subscription."""
    names = {"source": source, "vhost": vhost, "destination": destination, "group": group}
    return {"system": "kafka", **names, "stale": False, "scaling": scaling}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that have gone."""


class AdviceServer:
    """Serves `rows` and `sources` on 127.0.0.1; a context manager."""

    def __init__(self, *rows: dict[str, Any], tls: ssl.SSLContext | None = None) -> None:
        self.rows = list(rows)
        self.sources: list[dict[str, Any]] = [{"source": "shop", "up": True, "message": ""}]
        self.status = 200
        self.body: bytes | None = None
        """An answer instead of the rows."""
        self.login: str | None = None
        """`user:password` that a request needs."""
        self.hang = threading.Event()
        self.hang.set()
        """Clear it, and requests wait."""
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                server.hang.wait(30)
                status, body = server._answer(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = _Http(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_port}"

    def _answer(self, path: str, authorization: str | None) -> tuple[int, bytes]:
        if self.login is not None:
            word = base64.b64encode(self.login.encode()).decode()
            if authorization != f"Basic {word}":
                return 401, b"unauthorized\n"
        parts = urlsplit(path)
        if parts.path != "/api/v1/subscriptions":
            return 404, b"not found\n"
        if self.body is not None:
            return self.status, self.body
        query = parse_qs(parts.query, keep_blank_values=True)
        rows = [
            each
            for each in self.rows
            if all((each[name] or "") == query[name][-1] for name in NAMES if name in query)
        ]
        found = {"sources": self.sources, "subscriptions": rows}
        return self.status, json.dumps(found).encode()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
