"""The server that a program starts and stops."""

import threading
from collections.abc import Sequence

import structlog

from exporter.server.binding import ServerError, bind
from exporter.server.connection import Limits
from exporter.server.exchange import Exchange
from exporter.server.listener import Listener
from exporter.server.routing import Route, Router
from exporter.webconfig import WebConfig

log = structlog.get_logger(__name__)


class Server:
    """Serves `routes` on `listen`, from threads of its own.

    `listen` is `host:port`, `[IPv6]:port`, or `:port` for every address of the machine.
    """

    def __init__(
        self,
        listen: str,
        routes: Sequence[Route],
        web: WebConfig | None = None,
        limits: Limits = Limits(),  # noqa: B008 # it is frozen
    ) -> None:
        """Only keep what is given; `start` binds."""
        self._listen, self._routes, self._web, self._limits = listen, routes, web, limits
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port bound, also where `listen` left the choice to the system."""
        if self._listener is None:
            message = "the server has not been started"
            raise ServerError(message)
        return int(self._listener.socket.getsockname()[1])

    def start(self) -> None:
        """Bind and serve; raises `ServerError` where the address can't be had."""
        sock = bind(self._listen)
        self._listener = Listener(sock, Exchange, Router(self._routes), self._web, self._limits)
        loop = threading.Thread(target=self._listener.accept, name="http-accept", daemon=True)
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
