"""The external scaler, which a program starts and stops. Needs grpcio only when it starts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import structlog

from exporter.config.keda import KedaTls
from exporter.liveness import Pulse
from exporter.scaling.board import AdviceBoard
from exporter.web.server import ServerError
from exporter.web.server.binding import bind

if TYPE_CHECKING:
    from exporter.keda.answers import Counted
    from exporter.keda.rpc import RpcThread

log = structlog.get_logger(__name__)


def _not_counted(method: str, code: str, by: int) -> None:
    """Count nothing."""


class KedaService:
    """Answers KEDA on `listen` with the advice of the board.

    `listen` is `host:port`, `[IPv6]:port`, or `:port` for every address of the machine.
    """

    def __init__(
        self,
        board: AdviceBoard,
        listen: str,
        tls: KedaTls | None = None,
        counted: Counted = _not_counted,
    ) -> None:
        """Only store the arguments; `start` binds.

        `counted` gets the method, the code and the number of answers, from another thread.
        """
        self._board, self._listen, self._tls, self._counted = board, listen, tls, counted
        self._thread: RpcThread | None = None
        self.pulse = Pulse("the KEDA server")

    @property
    def port(self) -> int:
        """The bound port, also if `listen` left the choice to the system."""
        if self._thread is None:
            raise ServerError("the KEDA server has not been started")
        return self._thread.port

    def start(self) -> None:
        """Bind and serve.

        Raises `ServerError` if the address or the TLS files cannot be used, or grpcio is missing.
        """
        try:
            from exporter.keda.rpc import RpcThread  # noqa: PLC0415 - an optional package
        except ImportError as error:
            raise ServerError(
                f"keda: needs the packages grpcio and protobuf ({error}): "
                "pip install 'mq-lag-exporter[keda]'"
            ) from error
        try:
            self._thread = RpcThread(
                _address(self._listen), self._board, self._tls, self._counted, self.pulse
            )
        except (OSError, RuntimeError) as error:
            reason = str(error) or "no answer from its thread"
            message = f"keda.listen: {self._listen}: the gRPC server cannot start: {reason}"
            raise ServerError(message) from error
        log.info(
            "keda.started",
            listen=self._listen,
            port=self.port,
            tls=self._tls is not None,
            client_certificates=self._tls is not None and self._tls.client_ca_file is not None,
        )

    def stop(self, timeout: float) -> bool:
        """End the streams and stop; return whether it ended within `timeout` seconds."""
        if self._thread is None:
            return True
        clean = self._thread.stop(timeout)
        self._thread = None
        self.pulse.end()
        log.info("keda.stopped", clean=clean)
        return clean


def _address(listen: str) -> str:
    """Return the address as gRPC takes it, after a try to bind it. Raises `ServerError`.

    gRPC's own error does not say what is wrong.
    """
    try:
        with bind(listen) as tried:
            host = tried.getsockname()[0]
            family = tried.family
    except ServerError as error:
        raise ServerError(f"keda.{error}") from error
    port = listen.rpartition(":")[2]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
