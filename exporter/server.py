"""HTTP and HTTPS: handlers that answer with bytes, within bounds that no client can stretch.

One thread a connection, at most `Limits.connections`, over the standard library's
`socketserver` and `http.server`. Not cheroot: its TLS handshakes run in the thread that accepts, so
one silent client stops everybody; a worker of its small pool belongs to whoever dribbles or doesn't
read, since its timeouts start anew with every byte; and its `stop` waits without bound for a worker
that is sending. All three can only be mended in its private parts. Here a connection always has a
deadline for what it is doing, and the accepting loop cuts those that are past it.

Responses go to the socket in pieces of at most `_PIECE_BYTES`, as views of the handler's own bytes:
sending 20 MB costs what one `sendall` of them costs, and a client is judged by whether it takes
piece after piece.
"""

import errno
import http.server
import io
import math
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog

from exporter.webconfig import Settings, WebConfig

log = structlog.get_logger(__name__)

_TEXT = "text/plain; charset=utf-8"
_PLAIN_ON_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks HTTPS\n"
_PIECE_BYTES = 256 * 1024
_POLL_SECONDS = 0.2
_BACKLOG = 128
_LINGER_SECONDS = 2.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LISTEN = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")


_Doing = Literal["idle", "handshake", "request", "handler", "response", "closing", "cut"]


class ServerError(Exception):
    """The server can't listen; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Header names are lower-case, the path is decoded, the last of a repeated query key counts.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets: `chunks` one after the other; the length and the usual headers are added."""

    status: int
    content_type: str
    chunks: Sequence[bytes]
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A path, and who answers there.

    HEAD comes with GET. `public` needs no password and has no rate limit, for health checks.
    """

    path: str
    methods: frozenset[str]
    handler: Handler
    public: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take."""

    connections: int = 64
    head_seconds: float = 10.0  # to send a request, to finish the TLS handshake, to begin at all
    idle_seconds: float = 120.0  # between two requests
    piece_seconds: float = 30.0  # to take each piece of a response
    response_seconds: float = 300.0  # to take all of it
    head_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024  # bodies are read and ignored


class Server:
    """Serves `routes` on `listen`, from threads of its own.

    `listen` is `host:port`, `[IPv6]:port`, or `:port` for every address of the machine.
    """

    def __init__(
        self,
        listen: str,
        routes: Sequence[Route],
        web: WebConfig | None = None,
        limits: Limits = Limits(),
    ) -> None:
        """Only keep what is given; `start` binds."""
        self._listen, self._routes, self._web, self._limits = listen, routes, web, limits
        self._listener: _Listener | None = None

    @property
    def port(self) -> int:
        """The port bound, also where `listen` left the choice to the system."""
        if self._listener is None:
            message = "the server has not been started"
            raise ServerError(message)
        return int(self._listener.socket.getsockname()[1])

    def start(self) -> None:
        """Bind and serve; raises `ServerError` where the address can't be had."""
        sock = _bind(self._listen)
        self._listener = _Listener(sock, _Router(self._routes), self._web, self._limits)
        loop = threading.Thread(
            target=self._listener.serve_forever,
            args=(_POLL_SECONDS,),
            name="http-accept",
            daemon=True,
        )
        loop.start()
        log.info(
            "http.listening",
            listen=self._listen,
            port=self.port,
            tls=bool(self._web and self._web.tls),
        )

    def stop(self, timeout: float) -> None:
        """Take no more requests and let those being answered finish, for `timeout` seconds."""
        if self._listener is not None:
            self._listener.drain(timeout)
            self._listener = None


def _bind(listen: str) -> socket.socket:
    parsed = _LISTEN.fullmatch(listen)
    if parsed is None or int(parsed["port"]) > 65535:  # noqa: PLR2004 # the largest port there is
        expected = "host:port, [IPv6]:port or :port"
        raise ServerError(f"listen: {listen!r} is not an address; write {expected}")
    host, port = parsed["v6"] or parsed["host"], int(parsed["port"])
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            every = ("::", port)
            return socket.create_server(
                every, family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ServerError(f"listen: {listen}: {_advice(error)}") from error


def _advice(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name has no address; use an address of this machine, or :port for all"
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is taken by another program; stop that one or choose another port"
        case errno.EACCES | errno.EPERM:
            return "not permitted; choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have the address; use one of its own, or :port for all"
    return f"can't listen there: {error.strerror}; choose another address"


def _text(status: int, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status, _TEXT, (f"{text}\n".encode(),), headers)


class _Router:
    """Finds the handler of a request; whatever goes wrong in it becomes a response."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = {route.path: route for route in routes}

    def respond(self, request: Request, settings: Settings | None) -> Response:
        route = self._routes.get(request.path)
        refusal = _refusal(request, settings, public=route is not None and route.public)
        if refusal is not None:
            return refusal
        if route is None:
            return _text(404, "not found; there are: " + ", ".join(self._routes))
        allowed = route.methods | {"HEAD"} if "GET" in route.methods else route.methods
        if request.method not in allowed:
            allow = ", ".join(sorted(allowed))
            return _text(405, f"method not allowed; allowed: {allow}", ("Allow", allow))
        try:
            return route.handler(request)
        except Exception:
            log.exception("http.handler_failed", path=route.path, method=request.method)
            return _text(500, "internal error; the log has the reason")


def _refusal(request: Request, settings: Settings | None, *, public: bool) -> Response | None:
    if settings is None or public:
        return None
    if not settings.rate.allow():
        return _text(429, "too many requests")
    if not settings.users.allow(request.headers.get("authorization")):
        log.info("http.unauthorized", path=request.path)
        challenge = ("WWW-Authenticate", 'Basic realm="mq-lag-exporter", charset="UTF-8"')
        return _text(401, "unauthorized", challenge)
    return None


class _Connection:
    """An open connection, what it is doing, and until when it may."""

    __slots__ = ("client", "deadline", "doing", "sock")

    def __init__(self, sock: socket.socket, client: str) -> None:
        self.sock, self.client = sock, client
        self.doing: _Doing = "idle"
        self.deadline = math.inf

    def begin(self, doing: _Doing, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.doing = doing

    def cut(self) -> None:
        """Wake the thread that reads or writes here: it finds the connection ended."""
        with suppress(OSError):
            if self.doing != "idle":
                # What was not read in time is not kept by the kernel either.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            # SSLSocket's own shutdown drops the TLS state that its thread is working with.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        self.doing = "cut"

    def linger(self) -> None:
        """End it from this side, and read on for a moment.

        Closed with input unread, the connection would take along what was sent last.
        """
        self.begin("closing", _LINGER_SECONDS)
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            while socket.socket.recv(self.sock, _PIECE_BYTES):
                pass


class _Listener(socketserver.TCPServer):
    """Accepts connections, gives each a thread, and cuts those that are past their deadline."""

    def __init__(
        self, sock: socket.socket, router: _Router, web: WebConfig | None, limits: Limits
    ) -> None:
        super().__init__(sock.getsockname()[:2], _Exchange, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        # A client that is gone again by the time of `accept` must not block the loop.
        self.socket.settimeout(_POLL_SECONDS)
        self.router, self.web, self.limits = router, web, limits
        self.stopping = threading.Event()
        self._connections: set[_Connection] = set()
        self._changed = threading.Condition()

    def get_request(self) -> tuple[socket.socket, object]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                # The connection stays in the queue and would be tried again at once, at full speed.
                log.error("http.accept_failed", reason=error.strerror)  # noqa: TRY400 # it says all
                self.stopping.wait(_POLL_SECONDS)
            raise

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        sock = cast("socket.socket", request)  # TCP: no datagrams
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = str(client_address[0]) if isinstance(client_address, tuple) else ""
        connection = _Connection(sock, client.removeprefix("::ffff:"))
        connection.begin("idle", self.limits.head_seconds)
        with self._changed:
            while len(self._connections) >= self.limits.connections and not self.stopping.is_set():
                self._make_room()
                self._changed.wait(_POLL_SECONDS)
            self._connections.add(connection)
        try:
            threading.Thread(
                target=self._serve, args=(connection,), name="http", daemon=True
            ).start()
        except RuntimeError:
            self._release(connection)
            log.error("http.thread_failed", client=client)  # noqa: TRY400 # the name says it all

    def service_actions(self) -> None:
        """Cut who is past the deadline; the loop calls it at least every `_POLL_SECONDS`."""
        now = time.monotonic()
        with self._changed:
            for connection in self._connections:
                if connection.deadline < now and connection.doing != "cut":
                    if connection.doing != "idle":
                        log.info(
                            "http.client_cut", client=connection.client, during=connection.doing
                        )
                    connection.cut()

    def drain(self, timeout: float) -> None:
        """End everything within `timeout` seconds: idle connections now, busy ones if they must."""
        end = time.monotonic() + timeout
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                if connection.doing == "idle":
                    connection.cut()
            self._wait_empty(end - time.monotonic() - min(0.5, timeout / 4))
            for connection in self._connections:
                connection.cut()
            self._wait_empty(end - time.monotonic())
            if self._connections:
                log.warning("http.connections_abandoned", count=len(self._connections))

    def _wait_empty(self, seconds: float) -> None:
        self._changed.wait_for(lambda: not self._connections, max(0.0, seconds))

    def _make_room(self) -> None:
        self.service_actions()
        idle = [connection for connection in self._connections if connection.doing == "idle"]
        if idle:
            min(idle, key=lambda connection: connection.deadline).cut()

    def _serve(self, connection: _Connection) -> None:
        try:
            # The base class only keeps its first argument.
            _Exchange(connection, connection.client, self)  # type: ignore[arg-type]
        except ssl.SSLError as error:
            log.info("http.tls_failed", client=connection.client, reason=error.reason)
        except OSError as error:
            log.debug("http.client_lost", client=connection.client, reason=str(error))
        except Exception:
            log.exception("http.connection_failed", client=connection.client)
        finally:
            self._release(connection)

    def _release(self, connection: _Connection) -> None:
        with self._changed:  # so that `cut` never meets a descriptor that is someone else's by now
            self._connections.discard(connection)
            connection.sock.close()
            self._changed.notify_all()


class _Exchange(http.server.BaseHTTPRequestHandler):
    """The requests and responses of one connection."""

    protocol_version = "HTTP/1.1"
    server: _Listener
    request: _Connection

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
        self._send(_text(code, HTTPStatus(code).phrase))
        self.request.linger()

    def _send(self, response: Response) -> None:
        if self.server.stopping.is_set():
            self.close_connection = True
        end = time.monotonic() + self._limits.response_seconds
        chunks = () if self.command == "HEAD" else response.chunks
        for piece in _pieces(self._head(response), chunks):
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


def _pieces(head: bytes, chunks: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """Join small chunks and cut large ones without copying.

    Each piece is worth a call, and none is so large that a slow client could not take it in time.
    """
    waiting, size = [head], len(head)
    for chunk in chunks:
        if size + len(chunk) <= _PIECE_BYTES:
            waiting.append(chunk)
            size += len(chunk)
            continue
        if waiting:
            yield b"".join(waiting)
            waiting, size = [], 0
        if len(chunk) <= _PIECE_BYTES:
            waiting, size = [chunk], len(chunk)
            continue
        view = memoryview(chunk)
        for start in range(0, len(chunk), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]
    if waiting:
        yield b"".join(waiting)
