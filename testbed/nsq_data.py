"""Topics, channels, messages and consumers of an nsqd, for tests.

`url` is the HTTP address of one nsqd, `address` the host:port of its TCP listener.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import requests

from testbed.consuming import Delivery, Outcome, PacedConsumer

_TIMEOUT_SECONDS = 10.0


# Topics and channels


def create_topic(url: str, topic: str) -> None:
    _post(url, "topic/create", topic)


def create_channel(url: str, topic: str, channel: str) -> None:
    """Create a channel, and its topic if it does not exist."""
    create_topic(url, topic)
    _post(url, "channel/create", topic, channel)


def pause(url: str, topic: str, channel: str | None = None) -> None:
    """A paused topic keeps its messages from its channels, a paused channel from its consumers."""
    _post(url, f"{_kind(channel)}/pause", topic, channel)


def unpause(url: str, topic: str, channel: str | None = None) -> None:
    _post(url, f"{_kind(channel)}/unpause", topic, channel)


def empty(url: str, topic: str, channel: str | None = None) -> None:
    """Drop the messages of a channel, or those of a topic without channels."""
    _post(url, f"{_kind(channel)}/empty", topic, channel)


def delete(url: str, topic: str, channel: str | None = None) -> None:
    """Delete a channel, or a topic with its channels."""
    _post(url, f"{_kind(channel)}/delete", topic, channel)


def _kind(channel: str | None) -> Literal["topic", "channel"]:
    return "topic" if channel is None else "channel"


# Messages


def publish(url: str, topic: str, body: bytes = b"v", *, defer_ms: int | None = None) -> None:
    """One message; creates the topic if it is not there.

    Deferred, channels keep it back so long; a channel that is new, up to 5 s longer.
    """
    defer = {} if defer_ms is None else {"defer": str(defer_ms)}
    _post(url, "pub", topic, data=body, **defer)


def publish_all(url: str, topic: str, bodies: Sequence[bytes]) -> None:
    """Publish all messages or none, in one request."""
    frame = b"".join(struct.pack(">i", len(body)) + body for body in bodies)
    _post(url, "mpub", topic, data=struct.pack(">i", len(bodies)) + frame, binary="true")


# Statistics


def stats(url: str, topic: str | None = None, channel: str | None = None) -> dict[str, Any]:
    """The complete response of `/stats`, for one topic or channel if given."""
    wanted = {"topic": topic, "channel": channel}
    response = requests.get(
        f"{url}/stats",
        params={"format": "json", **{key: value for key, value in wanted.items() if value}},
        timeout=_TIMEOUT_SECONDS,
    )
    response.raise_for_status()
    return cast("dict[str, Any]", response.json())


def topic_stats(url: str, topic: str) -> dict[str, Any]:
    """The stats of one topic. Raises LookupError if the nsqd does not have it."""
    found = stats(url, topic)["topics"]
    if not found:
        raise LookupError(f"no topic {topic} on {url}")
    return cast("dict[str, Any]", found[0])


def channel_stats(url: str, topic: str, channel: str) -> dict[str, Any]:
    """The stats of one channel. Raises LookupError if the nsqd does not have it."""
    for found in topic_stats(url, topic)["channels"]:
        if found["channel_name"] == channel:
            return cast("dict[str, Any]", found)
    raise LookupError(f"no channel {channel} of {topic} on {url}")


def _post(
    url: str,
    path: str,
    topic: str,
    channel: str | None = None,
    data: bytes = b"",
    **parameters: str,
) -> None:
    if channel is not None:
        parameters["channel"] = channel
    response = requests.post(
        f"{url}/{path}",
        params={"topic": topic, **parameters},
        data=data,
        timeout=_TIMEOUT_SECONDS,
    )
    response.raise_for_status()


# Consumers

_RESPONSE, _ERROR, _MESSAGE = 0, 1, 2
_HEARTBEAT = b"_heartbeat_"


class NsqError(Exception):
    """nsqd rejected a command: `E_...` and a reason."""


class NsqConsumer(PacedConsumer[bytes]):
    """A consumer of one channel at one nsqd, over the V2 protocol.

    nsqd sends at most `max_in_flight` messages ahead of those that are finished, without waiting to
    fill a buffer. It sends a message again after `msg_timeout_ms`, by default the longest that it
    allows. A requeued message comes again after `requeue_ms`. With a CA file the connection uses
    TLS.

    nsqd drops a client that misses two heartbeats, and an ephemeral channel with its last client,
    so on a busy machine a test must not depend on a response within two seconds. Unfinished
    messages are requeued when the consumer stops. If it disappears without that, nsqd keeps them in
    flight until they time out.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        channel: str,
        rate: float | None = None,
        *,
        max_in_flight: int = 100,
        outcome: Callable[[Delivery], Outcome] | None = None,
        requeue_ms: int = 0,
        msg_timeout_ms: int = 900_000,
        ca_file: Path | None = None,
    ) -> None:
        super().__init__(rate, outcome)
        self._address, self._topic, self._channel = address, topic, channel
        self._max_in_flight = max_in_flight
        self._requeue_ms, self._msg_timeout_ms = requeue_ms, msg_timeout_ms
        self.heartbeat_ms = 20_000
        self._ca_file = ca_file
        self._unread = b""

    def _open(self) -> None:
        host, _, port = self._address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), _TIMEOUT_SECONDS)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(b"  V2")
            self._identify()
            self._send(f"SUB {self._topic} {self._channel}\n")
            self._expect(b"OK")
            self._send(f"RDY {self._max_in_flight}\n")
        except BaseException:
            self._socket.close()
            raise

    def _identify(self) -> None:
        body = {
            "client_id": "tests",
            "hostname": "tests",
            "user_agent": "mq-lag-exporter-tests",
            "feature_negotiation": True,
            "output_buffer_size": -1,
            "output_buffer_timeout": -1,
            "heartbeat_interval": self.heartbeat_ms,
            "msg_timeout": self._msg_timeout_ms,
            "tls_v1": self._ca_file is not None,
        }
        self._send("IDENTIFY\n", json.dumps(body).encode())
        answer = json.loads(self._answer())
        if self._ca_file is not None:
            if not answer["tls_v1"]:
                raise NsqError("this nsqd has no TLS")
            context = ssl.create_default_context(cafile=str(self._ca_file))
            self._socket = context.wrap_socket(self._socket, server_hostname="127.0.0.1")
            self._expect(b"OK")

    def _expect(self, wanted: bytes) -> None:
        answer = self._answer()
        if answer != wanted:
            raise NsqError(f"nsqd answers {answer!r} instead of {wanted!r}")

    def _answer(self) -> bytes:
        """The response to a command, while no messages can arrive."""
        while (frame := self._frame()) is None:
            self._read()
        kind, data = frame
        if kind == _ERROR:
            raise NsqError(data.decode())
        return data

    def _send(self, command: str, body: bytes | None = None) -> None:
        size_and_body = b"" if body is None else struct.pack(">i", len(body)) + body
        self._socket.settimeout(_TIMEOUT_SECONDS)
        self._socket.sendall(command.encode() + size_and_body)

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError(f"nsqd {self._address} has closed the connection")
        self._unread += data

    def _frame(self) -> tuple[int, bytes] | None:
        """The next complete frame that was read, as its kind and data; None without one."""
        if len(self._unread) < 8:
            return None
        size, kind = struct.unpack_from(">ii", self._unread)
        if len(self._unread) < 4 + size:
            return None
        data = self._unread[8 : 4 + size]
        self._unread = self._unread[4 + size :]
        return kind, data

    def _receive(self, seconds: float) -> None:
        self._socket.settimeout(max(seconds, 0.001))
        try:
            self._read()
        except TimeoutError:
            return
        while (frame := self._frame()) is not None:
            self._take(*frame)

    def _take(self, kind: int, data: bytes) -> None:
        if kind == _ERROR:
            raise NsqError(data.decode())
        if kind == _MESSAGE:
            enqueued_at_ns, attempts = struct.unpack_from(">qH", data)
            delivery = Delivery(
                body=data[26:],
                enqueued_at=enqueued_at_ns / 1e9,
                delivered_at=time.time(),
                attempts=attempts,
            )
            self._hold(data[10:26], delivery)
        elif data == _HEARTBEAT:
            self._send("NOP\n")

    def _settle(self, handle: bytes, outcome: Outcome) -> None:
        if outcome == "reject":
            raise ValueError("NSQ knows no rejection: a message is finished or requeued")
        name = handle.decode()
        self._send(f"FIN {name}\n" if outcome == "finish" else f"REQ {name} {self._requeue_ms}\n")

    def _close(self) -> None:
        with self._socket, suppress(OSError):
            self._send("CLS\n")  # or what is requeued comes here again
            while (frame := self._frame()) != (_RESPONSE, b"CLOSE_WAIT"):
                if frame is None:
                    self._read()
                else:
                    self._take(*frame)
            for handle, _ in self._held:
                self._settle(handle, "requeue")
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(65536):
                pass  # until nsqd has done everything and closes
