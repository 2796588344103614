"""The requests and responses of one connection, as HTTP/1.1."""

import http.server
import io
import math
import re
import socket
import ssl
import time
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog

from exporter.server.connection import Connection
from exporter.server.listener import Listener
from exporter.server.messages import Request, Response, pieces, plain
from exporter.webconfig import Settings

log = structlog.get_logger(__name__)

_PLAIN_ON_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks HTTPS\n"


class Exchange(http.server.BaseHTTPRequestHandler):
    """The requests and responses of one connection."""

    protocol_version = "HTTP/1.1"
    server: Listener
    request: Connection

    def setup(self) -> None:
        """Take the connection; with TLS, shake hands, and turn away who has the wrong name."""
        self._limits = self.server.limits
        self._settings = self.server.web.current() if self.server.web else None
        if self._settings and self._settings.context:
            self.request.begin("handshake", self._limits.head_seconds)
            self._secure(self._settings, self._settings.context)
            self.request.begin("idle", self._limits.head_seconds)
        self.connection = self.request.sock
        self._input = self.connection.makefile("rb")
        # For `100 Continue`, the only thing that the base class still sends.
        self.wfile = self.connection.makefile("wb", 0)

    def _secure(self, settings: Settings, context: ssl.SSLContext) -> None:
        secure = context.wrap_socket(
            self.request.sock, server_side=True, do_handshake_on_connect=False
        )
        self.request.sock = secure
        try:
            secure.do_handshake()
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                socket.socket.sendall(secure, _PLAIN_ON_TLS)
                self.request.linger()
            raise
        if not settings.allow_client(secure):
            log.warning("http.client_certificate_refused", client=self.request.client)
            message = "the client's certificate has none of client_allowed_sans"
            raise ConnectionAbortedError(message)

    def finish(self) -> None:
        """Let go of the socket, so that closing it closes it."""
        self.wfile.close()
        self._input.close()

    def handle_one_request(self) -> None:
        """Answer one request, or end the connection."""
        self.close_connection, self.command = True, ""
        if not self._input.peek(1):
            return
        self.request.begin("request", self._limits.head_seconds)
        head = self._read_head()
        if len(head) > self._limits.head_bytes:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if self.parse_request() and self._skip_body():
            self._answer()

    def _read_head(self) -> bytes:
        head = bytearray()
        while len(head) <= self._limits.head_bytes:
            line = self._input.readline(self._limits.head_bytes + 1 - len(head))
            head += line
            if line in (b"\r\n", b"\n", b""):
                break
        return bytes(head)

    def _skip_body(self) -> bool:
        lengths = {value.strip() for value in self.headers.get_all("Content-Length", ["0"])}
        length = lengths.pop()
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.NOT_IMPLEMENTED)
        elif lengths or not re.fullmatch("[0-9]+", length) or self.request_version == "HTTP/0.9":
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif (
            len(length) > len(str(self._limits.body_bytes)) or int(length) > self._limits.body_bytes
        ):
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return len(self._input.read(int(length))) == int(length)
        return False

    def _answer(self) -> None:
        try:
            target = urlsplit(self.path)
            query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=100))
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        self._settings = self.server.web.current() if self.server.web else None
        self.request.begin("handler", math.inf)
        request = Request(self.command, unquote(target.path) or "/", query, headers)
        self._send(self.server.router.respond(request, self._settings))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what can't be understood or is too much, and end the connection."""
        del message, explain  # they quote the request
        self.close_connection = True
        self._send(plain(code, HTTPStatus(code).phrase))
        self.request.linger()

    def _send(self, response: Response) -> None:
        if self.server.stopping.is_set():
            self.close_connection = True
        end = time.monotonic() + self._limits.response_seconds
        chunks = () if self.command == "HEAD" else response.chunks
        for piece in pieces(self._head(response), chunks):
            left = end - time.monotonic()
            self.request.begin("response", min(self._limits.piece_seconds, left))
            self.connection.sendall(piece)
        self.request.begin("idle", self._limits.idle_seconds)

    def _head(self, response: Response) -> bytes:
        status = HTTPStatus(response.status)
        headers = {
            "Date": self.date_time_string(),
            "Server": "mq-lag-exporter",
            "Content-Type": response.content_type,
            "Content-Length": str(sum(map(len, response.chunks))),
            "X-Content-Type-Options": "nosniff",
            "Connection": "close" if self.close_connection else "keep-alive",
            **dict(self._settings.headers if self._settings else ()),
            **dict(response.headers),
        }
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        status_line = f"{self.protocol_version} {status.value} {status.phrase}\r\n"
        return "".join([status_line, *lines, "\r\n"]).encode("latin-1")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
        """Log nothing: what matters has events of its own."""
