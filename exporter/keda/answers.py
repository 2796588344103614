"""The calls of the external scaler. Each is answered from the board, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import grpc
import structlog
from google.protobuf.message import DecodeError

from exporter.keda import messages
from exporter.scaling.board import AdviceBoard, BlindError, NoAdviceError, Published

log = structlog.get_logger(__name__)

METRIC = "desired_consumers"
"""A constant. Kubernetes refuses metric names with some characters that names of groups have."""
PER_REPLICA, MOST_PER_REPLICA = "consumersPerReplica", 10_000
"""Optional key of the metadata: the value of the metric for each replica."""
STREAM = "StreamIsActive"
MAX_STREAMS = 2_000
"""Open streams. KEDA opens one for each `external-push` trigger of a ScaledObject."""
MAX_DETAIL_BYTES = 1_300
"""Length of an error text. Percent-encoding triples it, and clients refuse headers above 8 kB."""

Answer = Callable[[bytes], Any]
"""Returns the response to a request. Raises `_RefusedError`."""
Call = Callable[[bytes, Any], Awaitable[bytes | None]]
"""The same as gRPC calls it, with the context; a stream returns None when it ends."""
Counted = Callable[[str, str, int], None]
"""Counts answers by method and code, such as `IsActive`, `OK`, 1."""


class _RefusedError(Exception):
    """The request has no answer, but an error code and a text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Names(NamedTuple):
    """The keys of a trigger's metadata that name the subscription. An empty one matches any."""

    source: str
    destination: str
    group: str
    vhost: str


class Answers:
    """Answers KEDA's calls. Used on the event loop only."""

    def __init__(self, board: AdviceBoard, counted: Counted) -> None:
        self._board = board
        self._counted = counted
        self._streams = 0
        self._ending = False
        self._changed = asyncio.Event()
        self._answers: dict[str, Answer] = {
            "IsActive": self._is_active,
            "GetMetricSpec": self._metric_spec,
            "GetMetrics": self._metrics,
        }
        for method in (*self._answers, STREAM):
            for code in ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE"):
                counted(method, code, 0)

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what the server needs to answer.

        `StreamMetricSpec` is left out: the specification is constant, and KEDA expects the error.
        """
        # Without serializers, so that a request that cannot be parsed is answered and counted here.
        found = {
            method: grpc.unary_unary_rpc_method_handler(self._counting(method, _at_once(answer)))
            for method, answer in self._answers.items()
        }
        found[STREAM] = grpc.unary_stream_rpc_method_handler(
            self._counting(STREAM, self._stream_is_active)
        )
        return grpc.method_handlers_generic_handler(messages.SERVICE, found)

    def look_again(self) -> None:
        """Let the streams compare the board with what they have sent."""
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """End the streams without an error, so that KEDA opens new ones soon."""
        self._ending = True
        self.look_again()

    # The calls

    def _is_active(self, request: bytes) -> Any:
        names = _names(_parsed(messages.ScaledObjectRef, request))
        return messages.IsActiveResponse(result=self._find(names).active)

    def _metric_spec(self, request: bytes) -> Any:
        """Return constants, also if nothing is known.

        KEDA counts failures for `fallback` only if this call succeeds (kedacore/keda#8056).
        """
        scaled_object = _parsed(messages.ScaledObjectRef, request)
        _names(scaled_object)
        target = _per_replica(scaled_object)
        spec = messages.MetricSpec(
            metricName=METRIC, targetSize=target, targetSizeFloat=float(target)
        )
        return messages.GetMetricSpecResponse(metricSpecs=[spec])

    def _metrics(self, request: bytes) -> Any:
        """Return the wanted number in both fields: KEDA uses the integer if the other one is 0."""
        asked = _parsed(messages.GetMetricsRequest, request)
        wanted = self._find(_names(asked.scaledObjectRef)).consumers
        value = messages.MetricValue(
            metricName=METRIC, metricValue=wanted, metricValueFloat=float(wanted)
        )
        return messages.GetMetricsResponse(metricValues=[value])

    async def _stream_is_active(self, request: bytes, context: Any) -> None:
        """Send whether the subscription is active: now, and after each change."""
        self._streams += 1
        try:
            await self._send_changes(request, context)
        finally:
            self._streams -= 1

    async def _send_changes(self, request: bytes, context: Any) -> None:
        if self._streams > MAX_STREAMS:
            text = f"{MAX_STREAMS} streams are open, which is the limit; use `external` triggers"
            raise _RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        names = _names(_parsed(messages.ScaledObjectRef, request))
        sent: bool | None = None
        while not self._ending:
            changed = self._changed
            active = self._now_active(names, sent)
            if active != sent:
                await context.write(messages.IsActiveResponse(result=active).SerializeToString())
                sent = active
            else:
                await changed.wait()

    def _now_active(self, names: _Names, before: bool | None) -> bool:
        """Return whether it is active. While the source is blind, a stream keeps what it has sent.

        An error would end the stream, and KEDA waits up to a minute before it opens another one.
        """
        try:
            return self._find(names).active
        except _RefusedError as error:
            if error.code is grpc.StatusCode.UNAVAILABLE and before is not None:
                return before
            raise

    def _counting(self, method: str, call: Call) -> Call:
        """Return the call with its answers counted, and its errors sent to the client."""

        async def counting(request: bytes, context: Any) -> bytes | None:
            code = "CANCELLED"
            try:
                try:
                    response = await call(request, context)
                except _RefusedError as error:
                    refused = error
                except Exception:
                    if context.cancelled():
                        raise
                    log.exception("keda.request_failed", method=method)
                    refused = _RefusedError(
                        grpc.StatusCode.INTERNAL, "a bug; see the exporter's log"
                    )
                else:
                    code = "OK"
                    return response
                code = refused.code.name
                await context.abort(refused.code, _short(refused))
                return None  # `abort` raises
            finally:
                self._counted(method, code, 1)

        return counting

    def _find(self, names: _Names) -> Published:
        """Return the advice. Unknown is an error, never a number: KEDA would scale to it."""
        try:
            return self._board.find(**names._asdict())
        except NoAdviceError as error:
            raise _RefusedError(grpc.StatusCode.NOT_FOUND, str(error)) from None
        except BlindError as error:
            raise _RefusedError(grpc.StatusCode.UNAVAILABLE, str(error)) from None


def _at_once(answer: Answer) -> Call:
    async def call(request: bytes, _: Any) -> bytes:
        response: bytes = answer(request).SerializeToString()
        return response

    return call


def _parsed(kind: Any, request: bytes) -> Any:
    try:
        return kind.FromString(request)
    except DecodeError:
        text = f"the request is not a valid {kind.DESCRIPTOR.full_name}"
        raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, text) from None


def _names(scaled_object: Any) -> _Names:
    """Return the names. Other keys are ignored: KEDA adds its own."""
    metadata: Mapping[str, str] = scaled_object.scalerMetadata
    names = _Names(*(metadata.get(key, "") for key in _Names._fields))
    if not any(names):
        wanted = ", ".join(_Names._fields)
        text = f"the trigger's metadata names no subscription; set one or more of: {wanted}"
        raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, text)
    return names


def _per_replica(scaled_object: Any) -> int:
    """Return how many consumers one replica runs, such as threads that each join the group."""
    given = scaled_object.scalerMetadata.get(PER_REPLICA, "1")
    if not (given.isascii() and given.isdecimal() and 0 < int(given[:9]) <= MOST_PER_REPLICA):
        text = f"{PER_REPLICA}: expected a whole number from 1 to {MOST_PER_REPLICA:,}"
        raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, text)
    return int(given[:9])


def _short(error: Exception) -> str:
    whole = str(error).encode("utf-8", "replace")
    text = whole[:MAX_DETAIL_BYTES].decode("utf-8", "ignore")
    return text if len(whole) <= MAX_DETAIL_BYTES else f"{text}…"
