"""A connection to one broker: TLS, SASL, and one request at a time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

from exporter.collectors.access import reason_of
from exporter.collectors.kafka.login.tokens import Tokens
from exporter.collectors.kafka.raw.codec import NO_TAGS, Decoder, Garbled
from exporter.collectors.kafka.raw.scram import Scram, ScramError
from exporter.collectors.kafka.raw.security import Security
from exporter.collectors.resolving import LookupTimeoutError, connect
from exporter.model import CollectError, Deadline, Reason, Until

T = TypeVar("T")

CLIENT_ID = b"mq-lag-exporter"
MOST_BYTES = 64 << 20
API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
CONNECT_SECONDS = 3.0


class BrokerConnection:
    """A connection to one broker.

    It raises `CollectError` on failure, and is unusable after that.
    """

    def __init__(self, address: str, security: Security, deadline: Deadline) -> None:
        """Connect, log in, and read the API versions of the broker."""
        self._address = address
        self._number = 0
        self._socket = self._connect(security, deadline)
        try:
            if security.mechanism is not None:
                self._log_in(security, security.mechanism, deadline)
            self.versions: Mapping[int, tuple[int, int]] = self._ask_versions(deadline)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def knows(self, api: int, version: int) -> bool:
        """Return whether the broker supports this version of the request."""
        least, most = self.versions.get(api, (0, -1))
        return least <= version <= most

    def request(self, api: int, version: int, body: bytes, deadline: Deadline) -> Decoder:
        """Send a request of a flexible version, and return a decoder of the answer's body."""
        answer = self._exchange(api, version, NO_TAGS + body, deadline)
        self._decoded(answer.tags)
        return answer

    def _exchange(self, api: int, version: int, rest: bytes, deadline: Deadline) -> Decoder:
        self._number += 1
        header = struct.pack(">hhih", api, version, self._number, len(CLIENT_ID)) + CLIENT_ID
        message = header + rest
        try:
            self._socket.settimeout(max(deadline.remaining(), 0.01))
            self._socket.sendall(struct.pack(">i", len(message)) + message)
            (size,) = struct.unpack(">i", self._receive(4, deadline))
            if not 4 <= size <= MOST_BYTES:  # noqa: PLR2004 - the number of the request is in it
                raise self._fault("invalid", "does not respond like a Kafka broker")
            answer = Decoder(self._receive(size, deadline))
        except TimeoutError:
            raise self._fault("timeout", "no response in time") from None
        except OSError as error:
            raise self._fault("unreachable", reason_of(error)) from None
        if self._decoded(answer.int32) != self._number:
            raise self._fault("invalid", "responded to a different request")
        return answer

    def _receive(self, size: int, deadline: Deadline) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._socket.settimeout(max(deadline.remaining(), 0.01))
            chunk = self._socket.recv(min(size - len(found), 1 << 16))
            if not chunk:
                raise ConnectionResetError("the broker closed the connection")
            found += chunk
        return bytes(found)

    def _decoded(self, parse: Callable[[], T]) -> T:
        try:
            return parse()
        except Garbled as error:
            raise self._fault("invalid", str(error)) from None

    def _fault(self, reason: Reason, text: str) -> CollectError:
        return CollectError(reason, f"broker {self._address}: {text}")

    # Setup

    def _connect(self, security: Security, deadline: Deadline) -> socket.socket:
        host, _, port = self._address.rpartition(":")
        context = security.context()
        try:
            plain = connect(host, int(port), Until(min(deadline.remaining(), CONNECT_SECONDS)))
        except LookupTimeoutError as error:
            raise self._fault("timeout", str(error)) from None
        except TimeoutError:
            raise self._fault("timeout", "no connection in time") from None
        except (OSError, OverflowError, ValueError) as error:
            raise self._fault("unreachable", reason_of(error)) from None
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return plain
        try:
            plain.settimeout(max(deadline.remaining(), 0.01))
            return context.wrap_socket(plain, server_hostname=host.strip("[]"))
        except (OSError, ValueError) as error:
            plain.close()
            raise self._fault("unreachable", f"TLS: {reason_of(error)}") from None

    def _ask_versions(self, deadline: Deadline) -> dict[int, tuple[int, int]]:
        answer = self._exchange(API_VERSIONS, 0, b"", deadline)

        def parse() -> dict[int, tuple[int, int]]:
            if answer.int16():
                return {}
            rows = answer.old_array(lambda: (answer.int16(), answer.int16(), answer.int16()))
            return {api: (least, most) for api, least, most in rows}

        return self._decoded(parse)

    def _log_in(self, security: Security, mechanism: str, deadline: Deadline) -> None:
        name = mechanism.encode()
        body = struct.pack(">h", len(name)) + name
        if self._decoded(self._exchange(SASL_HANDSHAKE, 1, body, deadline).int16):
            raise self._fault("unauthorized", f"does not support sasl.mechanism {mechanism}")
        if mechanism == "PLAIN":
            words = f"\0{security.username}\0{security.password}".encode()
            self._authenticate(words, deadline)
            return
        if mechanism == "OAUTHBEARER":
            self._present_token(security.tokens, deadline)
            return
        scram = Scram(mechanism, security.username, security.password)
        try:
            proof = scram.final(self._authenticate(scram.first(), deadline))
            scram.verify(self._authenticate(proof, deadline))
        except ScramError as error:
            raise self._fault("unauthorized", str(error)) from None

    def _present_token(self, tokens: Tokens | None, deadline: Deadline) -> None:
        """Log in as in RFC 7628: an answer that is not empty says why the token is refused."""
        if tokens is None:
            raise self._fault("internal", "no token source is available")
        token = tokens.get()
        extensions = "".join(f"{name}={value}\1" for name, value in token.extensions.items())
        words = f"n,,\1auth=Bearer {token.value}\1{extensions}\1"
        try:
            if not self._authenticate(words.encode(), deadline):
                return
            self._authenticate(b"\1", deadline)
        except CollectError as error:
            if error.reason != "unauthorized":
                raise
        tokens.refused()
        text = (
            "rejects the token; check its audience, scope and subject against the brokers' "
            "sasl.oauthbearer.*"
        )
        raise self._fault("unauthorized", text) from None

    def _authenticate(self, words: bytes, deadline: Deadline) -> bytes:
        body = struct.pack(">i", len(words)) + words
        answer = self._exchange(SASL_AUTHENTICATE, 0, body, deadline)

        def parse() -> bytes | None:
            refused = answer.int16()
            answer.old_string()
            return None if refused else answer.old_bytes()

        found = self._decoded(parse)
        if found is None:
            text = "rejects the login; check sasl.username and sasl.password under `client`"
            raise self._fault("unauthorized", text)
        return found
