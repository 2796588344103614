"""Accepts connections, cuts those past their deadline, and makes room when there are too many."""

import asyncio
import errno
import socket
import ssl
import time
from typing import cast

import structlog

from exporter.web.server.connection import WAITING, ClientConnection
from exporter.web.server.exchange import Requests
from exporter.web.server.limits import Limits
from exporter.web.server.messages import Request, Response, held
from exporter.web.server.routing import Router
from exporter.web.server.sparing import SparingLog
from exporter.web.server.stream import Stream, secured
from exporter.web.server.webfile import WebFile
from exporter.web.webconfig import WebSettings

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 1.0
"""A client that takes longer to read its response may be cut to make room."""
_BATCH = 64
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_COMPLAINT_SECONDS = 10.0


class Listener:
    """The open connections. All methods run on the event loop."""

    def __init__(
        self, sock: socket.socket, router: Router, web: WebFile | None, limits: Limits
    ) -> None:
        """Accept nothing before `open`."""
        self.limits, self.stopping = limits, False
        self._sock, self._router, self._web = sock, router, web
        self._most = limits.most_connections()
        self._connections: dict[ClientConnection, None] = {}
        self._waiting: dict[ClientConnection, None] = {}  # longest wait first
        self._changed = asyncio.Event()
        self._complained_at = -_COMPLAINT_SECONDS
        self._sparing = SparingLog()

    # Accepting

    def open(self) -> None:
        """Accept connections from now on."""
        self._sock.setblocking(False)  # noqa: FBT003 # the standard library's signature
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        try:
            for count in range(_BATCH):
                if len(self._connections) >= self._most:
                    if count:
                        return  # if more clients are waiting, this is called again
                    if not self._make_room():
                        self._pause(POLL_SECONDS)
                        return
                sock, address = self._sock.accept()
                try:
                    self._admit(sock, str(address[0]))
                except BaseException:
                    sock.close()
                    raise
        except (BlockingIOError, ConnectionError):
            pass
        except OSError as error:
            self._accept_failed(error)
        except Exception:
            log.exception("http.accept_loop_failed")
            self._pause(RETRY_SECONDS)

    def _accept_failed(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            log.error("http.accept_failed", reason=error.strerror)
        # The connection stays in the queue. Without a pause it would be tried again at once, in a
        # busy loop.
        if error.errno not in _OUT_OF_RESOURCES or not self._make_room():
            self._pause(POLL_SECONDS)

    def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self.stopping:
            asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _admit(self, sock: socket.socket, client: str) -> None:
        connection = ClientConnection(self, client.removeprefix("::ffff:"))
        try:
            self._begin(connection, sock)
        except Exception as error:
            connection.cut()
            self.gone(connection)
            sock.close()
            if isinstance(error, OSError):
                log.debug("http.client_lost", reason=str(error))
            else:
                log.exception("http.connection_failed", client=connection.client)

    def _begin(self, connection: ClientConnection, sock: socket.socket) -> None:
        self._connections[connection] = None
        if self._web is not None and self._web.tls:
            connection.own(sock)
            connection.begin("handshake", self.limits.head_seconds)
            connection.spawn(self._secure(connection, self._web))
        else:
            connection.serve(Stream(sock, connection), Requests(self, connection))

    async def _secure(self, connection: ClientConnection, web: WebFile) -> None:
        """Do the TLS handshake, and reject a client certificate with the wrong name."""
        try:
            settings = await web.refreshed()
            context = cast("ssl.SSLContext", settings.context)  # TLS on or off takes a restart
            stream = secured(connection.disown(), context, connection)
            connection.stream = stream
            await stream.wait_for_handshake()
        except ssl.SSLError as error:
            self._sparing.info("http.tls_failed", client=connection.client, reason=error.reason)
        except OSError as error:
            log.debug("http.client_lost", client=connection.client, reason=str(error))
        except Exception:
            log.exception("http.connection_failed", client=connection.client)
        else:
            if settings.allow_client(stream.socket):
                connection.serve(stream, Requests(self, connection))
                return
            self._sparing.info("http.client_certificate_refused", client=connection.client)
            connection.cut()
        if connection.stream is None:
            connection.cut()
            self.gone(connection)
        else:
            connection.end()

    # Called by connections

    def moved(self, connection: ClientConnection) -> None:
        """Put a connection that waits, or waits again, at the end of the waiting ones."""
        if connection.doing not in WAITING:
            self._waiting.pop(connection, None)
        elif connection not in self._waiting or connection.doing == "idle":
            self._waiting.pop(connection, None)
            self._waiting[connection] = None
        if connection.doing == "closing":
            self._changed.set()

    def gone(self, connection: ClientConnection) -> None:
        """Forget a connection."""
        self._waiting.pop(connection, None)
        self._connections.pop(connection, None)
        self._changed.set()

    async def respond(self, request: Request, client: str) -> tuple[Response, WebSettings | None]:
        """Return the response, and the web settings in use."""
        settings = None
        if self._web is not None:
            # Health checks do not even wait for a file that cannot be read.
            public = self._router.is_public(request.path)
            settings = self._web.settings if public else await self._web.refreshed()
        return await self._router.respond(request, settings, client), settings

    # Cutting connections

    def sweep(self) -> None:
        """Cut connections past their deadline, and slow clients whose responses fill the memory."""
        now = time.monotonic()
        for connection in [each for each in self._connections if each.deadline < now]:
            if connection.doing in ("idle", "closing"):
                connection.cut()
            else:
                self._cut(connection)
        slow = self._slow()
        while slow and self._held_bytes() > self.limits.held_bytes:
            self._cut(slow.pop(0))

    def _held_bytes(self) -> int:
        """Return the size of the responses being sent; a shared chunk counts once."""
        return sum(
            {
                id(chunk): held(chunk)
                for connection in self._connections
                for chunk in connection.sending
            }.values()
        )

    def _cut(self, connection: ClientConnection) -> None:
        self._sparing.info("http.client_cut", client=connection.client, during=connection.doing)
        connection.cut()

    def _make_room(self) -> bool:
        """Cut the connection that has waited longest for a request, or else the slowest reader."""
        for connection in self._waiting:
            connection.cut()
            self.gone(connection)
            return True
        for connection in self._slow():
            self._cut(connection)
            self.gone(connection)
            return True
        return False

    def _slow(self) -> list[ClientConnection]:
        """Return the connections that have been reading a response for a while, longest first."""
        before = time.monotonic() - PATIENCE_SECONDS
        slow = [
            connection
            for connection in self._connections
            if connection.sending and connection.sending_since < before
        ]
        return sorted(slow, key=lambda connection: connection.sending_since)

    # Stopping

    async def drain(self, seconds: float) -> None:
        """Close all connections within `seconds`: idle ones now, busy ones at the end."""
        end = time.monotonic() + seconds
        self.stopping = True
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        for connection in list(self._connections):
            if connection.doing in ("idle", "handshake", "closing"):
                connection.cut()
        await self._wait_answered(end - time.monotonic() - min(0.5, seconds / 4))
        abandoned = sum(1 for each in self._connections if each.doing == "handler")
        for connection in list(self._connections):
            connection.cut()
        if abandoned:
            log.warning("http.connections_abandoned", count=abandoned)

    async def _wait_answered(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(each.doing != "closing" for each in self._connections):
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), end - time.monotonic())
            except TimeoutError:
                return
