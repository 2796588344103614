"""A connection to an nsqd by its TCP protocol, V2.

Source: https://nsq.io/clients/tcp_protocol_spec.html.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from typing import Any, NamedTuple

from exporter import __version__
from exporter.collectors.resolving import connect
from exporter.model import CollectError, Deadline
from exporter.scrub import shown

MAGIC = b"  V2"
RESPONSE, ERROR, MESSAGE = 0, 1, 2
HEARTBEAT = b"_heartbeat_"
HEARTBEAT_MS = 60_000
MOST_BYTES = 1 << 20
"""Largest size of a frame. Probes have a few dozen bytes."""
SHOWN = 120
"""Largest number of characters of nsqd's text in an error message."""
HEAD = struct.Struct(">ii")
MESSAGE_HEAD = 26
"""Bytes before a message's body: timestamp, attempts, id."""
ID = slice(10, 26)
ID_BYTES = 16


class Frame(NamedTuple):
    """A frame from nsqd, and when it arrived (monotonic clock)."""

    kind: int
    data: bytes
    at: float


class NsqError(CollectError):
    """nsqd rejected a command."""


class NsqConnection:
    """A connection on which nsqd sends each message at once, without waiting to fill a buffer."""

    def __init__(
        self,
        address: tuple[str, int],
        deadline: Deadline,
        *,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        secret: str | None = None,
    ) -> None:
        """Connect and identify. Raises `OSError` or `CollectError`."""
        self._unread = b""
        try:
            self._socket = connect(*address, deadline)
        except UnicodeError:
            raise CollectError("unreachable", "not a valid host name") from None
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(MAGIC)
            self._identify(deadline, tls, server_name or address[0], secret)
        except BaseException:
            self._socket.close()
            raise

    def subscribe(self, topic: str, channel: str, deadline: Deadline) -> None:
        """Subscribe to the channel."""
        self._command(f"SUB {topic} {channel}\n", deadline)
        self._expect_ok("SUB", deadline)
        self._command("RDY 10\n", deadline)

    def publish(self, topic: str, body: bytes, deadline: Deadline) -> None:
        """Publish a message; the response arrives as a frame."""
        self._command(f"PUB {topic}\n", deadline, body)

    def finish(self, message: bytes, deadline: Deadline) -> None:
        """Finish a message; nsqd does not respond."""
        self._command(f"FIN {_id_of(message)}\n", deadline)

    def pause(self, deadline: Deadline) -> None:
        """Stop the flow of messages; some may still be on their way."""
        self._command("RDY 0\n", deadline)

    def requeue(self, message: bytes, deadline: Deadline) -> None:
        """Requeue a message for immediate delivery; nsqd does not respond."""
        self._command(f"REQ {_id_of(message)} 0\n", deadline)

    def frame(self, deadline: Deadline) -> Frame | None:
        """Return the next frame that is not a heartbeat; None if none arrives in time.

        Raises `OSError`.
        """
        while True:
            frame = self._whole()
            if frame is None:
                if not self._read(deadline):
                    return None
            elif frame.kind == RESPONSE and frame.data == HEARTBEAT:
                self._command("NOP\n", deadline)
            else:
                return frame

    def close(self) -> None:
        """Close the connection; nsqd then deletes its ephemeral topics and channels."""
        self._socket.close()

    def _identify(
        self,
        deadline: Deadline,
        tls: ssl.SSLContext | None,
        server_name: str,
        secret: str | None,
    ) -> None:
        body = {
            "client_id": "mq-lag-exporter",
            "hostname": socket.gethostname(),
            "user_agent": f"mq-lag-exporter/{__version__}",
            "feature_negotiation": True,
            "output_buffer_size": -1,
            "output_buffer_timeout": -1,
            "heartbeat_interval": HEARTBEAT_MS,
            "tls_v1": tls is not None,
        }
        self._command("IDENTIFY\n", deadline, json.dumps(body).encode())
        answer = self._answer("IDENTIFY", deadline)
        features = _features(answer)
        if tls is not None:
            if not features.get("tls_v1"):
                raise NsqError(
                    "invalid",
                    "nsqd does not offer TLS; remove probe.tls, or start nsqd with --tls-cert",
                )
            self._socket = tls.wrap_socket(self._socket, server_hostname=server_name)
            self._expect_ok("TLS", deadline)
        if features.get("auth_required"):
            if secret is None:
                raise NsqError(
                    "unauthorized", "nsqd requires authentication; set probe.auth_secret_file"
                )
            self._command("AUTH\n", deadline, secret.encode())
            self._answer("AUTH", deadline)

    def _expect_ok(self, command: str, deadline: Deadline) -> None:
        answer = self._answer(command, deadline)
        if answer != b"OK":
            raise NsqError("invalid", f"nsqd responds to {command} with {said(answer)}")

    def _answer(self, command: str, deadline: Deadline) -> bytes:
        frame = self.frame(deadline)
        if frame is None:
            raise NsqError("timeout", f"nsqd does not respond to {command} in time")
        if frame.kind == ERROR:
            raise refusal(command, frame.data)
        return frame.data

    def _command(self, line: str, deadline: Deadline, body: bytes | None = None) -> None:
        sized = b"" if body is None else struct.pack(">i", len(body)) + body
        self._socket.settimeout(max(deadline.remaining(), 0.05))
        self._socket.sendall(line.encode() + sized)

    def _read(self, deadline: Deadline) -> bool:
        seconds = deadline.remaining()
        if seconds <= 0:
            return False
        self._socket.settimeout(seconds)
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            return False
        if not data:
            raise ConnectionResetError("nsqd closed the connection")
        self._unread += data
        return True

    def _whole(self) -> Frame | None:
        if len(self._unread) < HEAD.size:
            return None
        size, kind = HEAD.unpack_from(self._unread)
        if not 4 <= size <= MOST_BYTES:  # noqa: PLR2004 - the size includes the kind
            raise NsqError("invalid", "unexpected data; is this the TCP port of an nsqd?")
        if len(self._unread) < 4 + size:
            return None
        data = self._unread[HEAD.size : 4 + size]
        self._unread = self._unread[4 + size :]
        return Frame(kind, data, time.monotonic())


def _features(answer: bytes) -> dict[str, Any]:
    """Return the features in nsqd's response to IDENTIFY. Raises `NsqError`.

    An nsqd without feature negotiation responds `OK` and has no features here.
    """
    if not answer.startswith(b"{"):
        return {}
    try:
        features: dict[str, Any] = json.loads(answer)
    except (ValueError, RecursionError):
        raise NsqError("invalid", "the response of nsqd to IDENTIFY is not JSON") from None
    return features


def _id_of(message: bytes) -> str:
    """Return a message's id.

    Raises `NsqError` if it is invalid, because a command is a line of ASCII.
    """
    found = message[ID]
    if len(found) != ID_BYTES or not found.isascii() or b"\n" in found or b" " in found:
        raise NsqError("invalid", f"nsqd sends a message with the id {said(found)}")
    return found.decode("ascii")


def said(data: bytes) -> str:
    """Return data from nsqd as text for an error message, shortened."""
    return repr(shown(data.decode("utf-8", "backslashreplace"), SHOWN))


def refusal(command: str, data: bytes) -> NsqError:
    """Return the error for a command that nsqd rejected."""
    text = shown(data.decode("utf-8", "replace"), SHOWN)
    denied = text.startswith(("E_AUTH", "E_UNAUTHORIZED"))
    advice = "; check probe.auth_secret_file and what it allows" if denied else ""
    if "tls required" in text.lower():
        advice = "; set probe.tls"
    return NsqError(
        "unauthorized" if denied else "invalid", f"nsqd rejects {command}: {text}{advice}"
    )
