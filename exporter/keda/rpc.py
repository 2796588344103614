"""The gRPC server on an event loop in its own thread."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

# gRPC's C code would write lines of its own to standard error, between the JSON lines of the log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio
import structlog

from exporter.config.keda import KedaTls
from exporter.keda.answers import MAX_STREAMS, Answers, Counted
from exporter.keda.certificates import Certificates
from exporter.liveness import Pulse
from exporter.scaling.board import AdviceBoard

log = structlog.get_logger(__name__)

ROUND_SECONDS = 0.5
"""How often the streams look for advice that is outdated. They see new advice at once."""
PAUSE_SECONDS = 0.05
"""Least time between two rounds, however often something is published."""
LOOP_SECONDS = 30.0
"""A round of the event loop that takes longer counts as stuck."""
DRAIN_SECONDS = 0.3
"""Time for running calls to end. All but those of slow clients end at once."""
START_SECONDS = 10.0
MAX_CONNECTIONS = 200
"""KEDA uses one connection for all triggers with the same address and certificates. Each is a file
descriptor that sources cannot use.
"""

_OPTIONS = (
    # Otherwise two exporters could listen on the same port, and KEDA would ask either of them.
    ("grpc.so_reuseport", 0),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    # For each connection. KEDA has all its streams and calls on one.
    ("grpc.max_concurrent_streams", MAX_STREAMS + 1_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Ends the streams of a client that has vanished without closing its connection.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_connection_idle_ms", 600_000),
)


class RpcThread:
    """A thread that serves until it is stopped."""

    def __init__(
        self, address: str, board: AdviceBoard, tls: KedaTls | None, counted: Counted, pulse: Pulse
    ) -> None:
        """Return when the server accepts calls.

        Raises `ServerError` for unusable TLS files, `RuntimeError` if it cannot start.
        """
        self._board, self._counted, self._pulse = board, counted, pulse
        self._certificates = None if tls is None else Certificates(tls)
        self._over = threading.Event()
        self._round_due = False
        self._end: Callable[[], Any] = self._over.set
        _listen_to_grpc()
        started: Future[int] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(address, started), name="keda", daemon=True
        )
        self._thread.start()
        self.port = started.result(START_SECONDS)

    def stop(self, timeout: float) -> bool:
        """End streams and calls; return whether the thread ended within `timeout` seconds."""
        self._over.set()
        # The loop may have ended by itself.
        with suppress(RuntimeError):
            self._end()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self, address: str, started: Future[int]) -> None:
        try:
            asyncio.run(self._serve(address, started))
        except Exception as error:
            if started.done():
                log.exception("keda.loop_failed")
            else:
                started.set_exception(error)
        else:
            self._pulse.end()
        finally:
            self._over.set()

    async def _serve(self, address: str, started: Future[int]) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_log_fault)
        answers = Answers(self._board, self._counted)
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((answers.handlers(),))
        if self._certificates is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, self._certificates.credentials())
        await server.start()
        self._end = functools.partial(loop.call_soon_threadsafe, stopping.set)
        watch = threading.Thread(
            target=self._watch, args=(loop, answers), name="keda-watch", daemon=True
        )
        watch.start()
        started.set_result(port)
        await stopping.wait()
        answers.end()
        await server.stop(DRAIN_SECONDS)

    def _watch(self, loop: asyncio.AbstractEventLoop, answers: Answers) -> None:
        """Start a round on the loop after each change of the board, and every `ROUND_SECONDS`."""
        version = -1
        while not self._over.is_set():
            version = self._board.wait(version, ROUND_SECONDS)
            if not self._round_due:
                self._round_due = True
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._round, answers)
            self._over.wait(PAUSE_SECONDS)

    def _round(self, answers: Answers) -> None:
        self._round_due = False
        self._pulse.beat(time.monotonic(), LOOP_SECONDS, self._thread)
        answers.look_again()


def _log_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("keda.loop_failed", reason=context["message"], exc_info=context.get("exception"))


class _Handler(logging.Handler):
    """Logs gRPC's errors as events."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error("keda.loop_failed", reason=record.msg, exc_info=record.exc_info)


def _listen_to_grpc() -> None:
    logger = logging.getLogger("grpc")
    if not logger.handlers:
        logger.propagate = False
        logger.setLevel(logging.ERROR)
        logger.addHandler(_Handler())
