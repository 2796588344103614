"""The client side of SCRAM (RFC 5802, RFC 7677)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
LEAST_ITERATIONS = 4_096
MOST_ITERATIONS = 1_000_000
"""Maximum number of iterations: half a second of work.

Brokers allow 16,384. A server that demands more tries to keep the client busy.
"""


class ScramError(Exception):
    """The server's message is not valid."""


class Scram:
    """One SCRAM exchange.

    Call `first`, then `final` with the server's first message, then `verify` with its last one.
    """

    def __init__(self, mechanism: str, username: str, password: str) -> None:
        self._hash = HASHES[mechanism]
        self._password = password.encode()
        self._nonce = secrets.token_urlsafe(24)
        name = username.replace("=", "=3D").replace(",", "=2C")
        self._first = f"n={name},r={self._nonce}"
        self._server_signature = b""

    def first(self) -> bytes:
        """Return the first message."""
        return f"n,,{self._first}".encode()

    def final(self, answer: bytes) -> bytes:
        """Return the message with the proof. Raises `ScramError`."""
        text = answer.decode("utf-8", "replace")
        fields = _fields(text)
        try:
            nonce, count = fields["r"], int(fields["i"])
            salt = base64.b64decode(fields["s"], validate=True)
        except (KeyError, ValueError):
            raise ScramError("the broker's SCRAM message can't be read") from None
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramError("the broker's SCRAM message answers another client")
        if not LEAST_ITERATIONS <= count <= MOST_ITERATIONS:
            raise ScramError(f"the broker asks for {count} iterations of SCRAM")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, count)
        bare = f"c=biws,r={nonce}"
        message = f"{self._first},{text},{bare}".encode()
        key = self._mac(salted, b"Client Key")
        signature = self._mac(hashlib.new(self._hash, key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        self._server_signature = self._mac(self._mac(salted, b"Server Key"), message)
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, answer: bytes) -> None:
        """Check that the server knows the password, too. Raises `ScramError`."""
        fields = _fields(answer.decode("utf-8", "replace"))
        expected = base64.b64encode(self._server_signature).decode()
        if not hmac.compare_digest(fields.get("v", "").encode(), expected.encode()):
            raise ScramError("the broker does not prove that it knows the password")

    def _mac(self, key: bytes, message: bytes) -> bytes:
        return hmac.new(key, message, self._hash).digest()


def _fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)
