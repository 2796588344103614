"""Basic authentication: users, their bcrypt hashes, and the credentials of a request."""

import base64
import binascii
import hashlib
import secrets
import threading
from collections.abc import Mapping

import bcrypt

_BCRYPT_INPUT_BYTES = 72  # bcrypt uses no more: Go drops the rest, the library rejects it
_REMEMBERED_LOGINS = 256


class Users:
    """The users and their bcrypt hashes.

    A right password is hashed once, and after that recognized by a keyed digest.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        """`hashes` maps user names to hashes."""
        self._hashes = {user.encode(): value.encode() for user, value in hashes.items()}
        # Checked for unknown users, so that the response time does not show which users exist.
        self._decoy = max(
            self._hashes.values(), key=lambda value: value.split(b"$")[2], default=b""
        )
        self._digest_key = secrets.token_bytes(32)
        self._known: set[bytes] = set()
        # One hash at a time, so that guessing passwords occupies one core only.
        self._hashing = threading.Lock()

    def known(self, authorization: str | None) -> bool | None:
        """Return the result of `allow` if that needs no hash; otherwise None."""
        if not self._hashes:
            return True
        credentials = _basic_credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        stored = self._hashes.get(user)
        return True if self._digest(user, password, stored or self._decoy) in self._known else None

    def allow(self, authorization: str | None) -> bool:
        """Return whether the header has a user and the right password.

        True if there are no users.

        Takes the time of a hash, except for a password that was right before.
        """
        known = self.known(authorization)
        credentials = _basic_credentials(authorization)
        if known is not None or credentials is None:
            return bool(known)
        user, password = credentials
        stored = self._hashes.get(user)
        digest = self._digest(user, password, stored or self._decoy)
        with self._hashing:
            matches = _matches(password, stored or self._decoy)
        if not matches or stored is None:
            return False
        if len(self._known) >= _REMEMBERED_LOGINS:
            self._known.clear()
        self._known.add(digest)
        return True

    def _digest(self, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(key=self._digest_key, digest_size=32)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def _basic_credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


def _matches(password: bytes, stored: bytes) -> bool:
    # Go ignores the letter of the version, and uses the same algorithm for all.
    digest = b"$2b$" + stored.split(b"$", 2)[2]
    try:
        return bcrypt.checkpw(password[:_BCRYPT_INPUT_BYTES], digest)
    except ValueError:  # not really a hash
        return False
