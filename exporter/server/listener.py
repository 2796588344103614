"""Accepts connections, gives each a thread, and cuts those that are past their deadline."""

import errno
import socket
import socketserver
import ssl
import sys
import threading
import time
from typing import cast

import structlog

from exporter.server.connection import Connection, Limits
from exporter.server.routing import Router
from exporter.webconfig import WebConfig

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
RETRY_SECONDS = 1.0
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener(socketserver.TCPServer):
    """The open connections, each served by an `exchange` of its own."""

    def __init__(
        self,
        sock: socket.socket,
        exchange: type[socketserver.BaseRequestHandler],
        router: Router,
        web: WebConfig | None,
        limits: Limits,
    ) -> None:
        super().__init__(sock.getsockname()[:2], exchange, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        # A client that is gone again by the time of `accept` must not block the loop.
        self.socket.settimeout(POLL_SECONDS)
        self.router, self.web, self.limits = router, web, limits
        self.stopping = threading.Event()
        self._connections: set[Connection] = set()
        self._changed = threading.Condition()

    def accept(self) -> None:
        """Accept connections until `drain`; whatever goes wrong meanwhile does not end it."""
        # Once in any case: `shutdown` waits for a loop that has begun.
        while True:
            try:
                self.serve_forever(POLL_SECONDS)
            except Exception:
                log.exception("http.accept_loop_failed")
                self.stopping.wait(RETRY_SECONDS)
            if self.stopping.is_set():
                return

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong before a connection had a thread; the base class would print it."""
        del request, client_address
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            log.debug("http.client_lost", reason=str(error))
        else:
            log.error("http.connection_failed", exc_info=error)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection, and wait a moment where the machine has nothing left for it."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                # The connection stays in the queue and would be tried again at once, at full speed.
                log.error("http.accept_failed", reason=error.strerror)  # noqa: TRY400 # it says all
                self.stopping.wait(POLL_SECONDS)
            raise

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Give the connection a thread, and wait for a place where there are too many."""
        sock = cast("socket.socket", request)  # TCP: no datagrams
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = str(client_address[0]) if isinstance(client_address, tuple) else ""
        connection = Connection(sock, client.removeprefix("::ffff:"))
        connection.begin("idle", self.limits.head_seconds)
        with self._changed:
            while len(self._connections) >= self.limits.connections and not self.stopping.is_set():
                self._make_room()
                self._changed.wait(POLL_SECONDS)
            self._connections.add(connection)
        try:
            threading.Thread(
                target=self._serve, args=(connection,), name="http", daemon=True
            ).start()
        except RuntimeError:
            self._release(connection)
            log.error("http.thread_failed", client=client)  # noqa: TRY400 # the name says it all

    def service_actions(self) -> None:
        """Cut who is past the deadline; the loop calls it at least every `POLL_SECONDS`."""
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

    def _serve(self, connection: Connection) -> None:
        try:
            # The base class only keeps its first argument.
            self.RequestHandlerClass(connection, connection.client, self)  # type: ignore[arg-type]
        except ssl.SSLError as error:
            log.info("http.tls_failed", client=connection.client, reason=error.reason)
        except OSError as error:
            log.debug("http.client_lost", client=connection.client, reason=str(error))
        except Exception:
            log.exception("http.connection_failed", client=connection.client)
        finally:
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        with self._changed:  # so that `cut` never meets a descriptor that is someone else's by now
            self._connections.discard(connection)
            connection.sock.close()
            self._changed.notify_all()
