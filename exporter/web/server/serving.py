"""The server, which a program starts and stops."""

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
"""A round of the event loop that takes longer counts as stuck."""
STOP_SECONDS = 1.0
"""Extra time for the thread to end, after the time for the connections."""


class Server:
    """Serves `routes` on `listen` in its own threads.

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
        """Only store the arguments; `start` binds. `hosts` returns the allowed values of Host."""
        self._listen, self._routes, self._web, self._limits = listen, routes, web, limits
        self._hosts = hosts
        self._loop: _ServerThread | None = None
        self.pulse = Pulse("the HTTP server")

    @property
    def port(self) -> int:
        """The bound port, also if `listen` left the choice to the system."""
        if self._loop is None:
            message = "the server has not been started"
            raise ServerError(message)
        return self._loop.port

    def start(self) -> None:
        """Bind and serve. Raises `ServerError` if the address cannot be used."""
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
        """Stop accepting requests; let running ones finish for `timeout` seconds."""
        if self._loop is not None:
            self._loop.stop(timeout)
            self._loop = None


class _ServerThread:
    """A thread with an event loop."""

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
        """Stop the loop within a bounded time."""
        self._loop.call_soon_threadsafe(self._end, timeout)
        self._thread.join(timeout + STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("http.loop_abandoned")

    def _run(self) -> None:
        """Run the loop until it is stopped; no error ends it."""
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
            # One more round for the cancelled tasks.
            self._loop.call_soon(self._stop)

    def _stop(self) -> None:
        self._over = True
        self._loop.stop()


def _log_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("http.loop_failed", reason=context["message"], exc_info=context.get("exception"))


class _Handler(logging.Handler):
    """Logs tornado's errors as events. Its messages about clients quote them, and are left out."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error("http.connection_failed", reason=record.msg, exc_info=record.exc_info)


def _listen_to_tornado() -> None:
    logger = logging.getLogger("tornado")
    if not logger.handlers:
        logger.propagate = False
        logger.setLevel(logging.ERROR)
        logger.addHandler(_Handler())
