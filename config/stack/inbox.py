"""Replaces Slack in docker-compose.yml: prints Alertmanager's notifications.

`inbox.py HOST:PORT`; needs only Python.
"""

from __future__ import annotations

import json
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST = 1_000_000
"""Maximum size of a notification in bytes."""


class Inbox(BaseHTTPRequestHandler):
    """Accepts Slack's incoming webhooks, and answers health checks."""

    timeout = 30

    def do_GET(self) -> None:
        """Answer `/-/healthy`."""
        self._answer(HTTPStatus.OK if self.path == "/-/healthy" else HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Print a notification."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LONGEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            texts = [
                f"{each['title']}\n{each['text']}"
                for each in json.loads(self.rfile.read(int(length)))["attachments"]
            ]
        except (ValueError, KeyError, TypeError):
            self._answer(HTTPStatus.BAD_REQUEST)
            return
        for text in texts:
            print(time.strftime("%H:%M:%S"), printable(text).strip(), end="\n\n", flush=True)
        self._answer(HTTPStatus.OK)

    def log_message(self, *_: object) -> None:
        """Do not log requests."""

    def _answer(self, status: HTTPStatus) -> None:
        text = status.phrase.lower().encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def printable(text: str) -> str:
    """Return the text without control characters: it contains names that other people chose."""
    return "".join(
        each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text
    )


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    ThreadingHTTPServer((host, int(port)), Inbox).serve_forever()
