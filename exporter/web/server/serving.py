"""The server that a program starts and stops."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog

from exporter.liveness import Pulse
from exporter.web.server.binding import ServerError, bind
from exporter.web.server.limits import Limits
from exporter.web.server.listener import POLL_SECONDS, RETRY_SECONDS, Listener
from exporter.web.server.routing import Hosts, Route, Router
from exporter.web.server.webfile import WebFile
from exporter.web.webconfig import WebConfig

log = structlog.get_logger(__name__)

LOOP_SECONDS = 30.0
"""An event loop that takes longer to come round is stuck."""
STOP_SECONDS = 1.0
"""What the thread gets to end, besides the time for the connections."""


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
        hosts: Hosts = tuple,
    ) -> None:
        """Only keep what is given; `start` binds. `hosts` returns the allowed values of Host."""
        self._listen, self._routes, self._web, self._limits = listen, routes, web, limits
        self._hosts = hosts
        self._loop: _ServerThread | None = None
        self.pulse = Pulse("the HTTP server")

    @property
    def port(self) -> int:
        """The port bound, also where `listen` left the choice to the system."""
        if self._loop is None:
            message = "the server has not been started"
            raise ServerError(message)
        return self._loop.port

    def start(self) -> None:
        """Bind and serve; raises `ServerError` where the address can't be had."""
        sock = bind(self._listen)
        router = Router(self._routes, self._hosts)
        web = WebFile(self._web) if self._web is not None else None
        try:
            self._loop = _ServerThread(sock, router, web, self._limits, self.pulse)
        except (OSError, RuntimeError) as error:
            sock.close()
            message = f"the server cannot start: {error}; raise the limits of the process"
            raise ServerError(message) from error
        log.info(
            "http.listening",
            listen=self._listen,
            port=self.port,
            tls=bool(self._web and self._web.tls),
        )

    def stop(self, timeout: float) -> None:
        """Take no more requests and let those being answered finish, for `timeout` seconds."""
        if self._loop is not None:
            self._loop.stop(timeout)
            self._loop = None


class _ServerThread:
    """An event loop in a thread of its own."""

    def __init__(
        self, sock: socket.socket, router: Router, web: WebFile | None, limits: Limits, pulse: Pulse
    ) -> None:
        self.port = int(sock.getsockname()[1])
        self._router, self._web, self._pulse = router, web, pulse
        self._over = False
        _listen_to_tornado()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log_fault)
        self._listener = Listener(sock, router, web, limits)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def stop(self, timeout: float) -> None:
        """End it within a bounded time."""
        self._loop.call_soon_threadsafe(self._end, timeout)
        self._thread.join(timeout + STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("http.loop_abandoned")

    def _run(self) -> None:
        """Run the loop until it is stopped; whatever goes wrong meanwhile does not end it."""
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._listener.open)
        self._loop.call_soon(self._come_round)
        while not self._over:
            try:
                self._loop.run_forever()
            except Exception:
                log.exception("http.loop_failed")
                time.sleep(RETRY_SECONDS)
        self._pulse.end()
        self._loop.close()

    def _come_round(self) -> None:
        self._pulse.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())
        try:
            self._listener.sweep()
        except Exception:
            log.exception("http.sweep_failed")
        self._loop.call_later(POLL_SECONDS, self._come_round)

    def _end(self, timeout: float) -> None:
        self._ending = self._loop.create_task(self._drain(timeout))

    async def _drain(self, seconds: float) -> None:
        try:
            await self._listener.drain(seconds)
        finally:
            self._router.stop()
            if self._web is not None:
                self._web.stop()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            # One round for what was cancelled.
            self._loop.call_soon(self._stop)

    def _stop(self) -> None:
        self._over = True
        self._loop.stop()


def _log_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("http.loop_failed", reason=context["message"], exc_info=context.get("exception"))


class _Handler(logging.Handler):
    """Tornado's errors as events of the log; what it says of clients quotes them, and is left out."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error("http.connection_failed", reason=record.msg, exc_info=record.exc_info)


def _listen_to_tornado() -> None:
    logger = logging.getLogger("tornado")
    if not logger.handlers:
        logger.propagate = False
        logger.setLevel(logging.ERROR)
        logger.addHandler(_Handler())
