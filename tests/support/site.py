"""A small HTTP server with responses that a test sets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """An HTTP server with a response for some paths, and 404 otherwise."""

    def __init__(self, port: int) -> None:
        self.replies: dict[str, Reply] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.replies.get(self.path.partition("?")[0], status(404))(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.name = f"127.0.0.1:{port}"
        self.url = f"http://{self.name}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def says(value: object) -> Reply:
    body = json.dumps(value).encode()

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return reply


def status(code: int) -> Reply:
    return lambda request: request.send_error(code)
