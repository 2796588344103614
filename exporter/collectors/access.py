"""Certificates, user and password of the brokers that are read by HTTP; needs no HTTP library."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from exporter.model import CollectError
from exporter.scrub import learn_login, shown
from exporter.secret_files import SecretFileError, mark_of, patiently, read_secret

SHOWN = 200
"""Characters of a server's or a library's own words that an error may hold."""


@dataclass(frozen=True)
class Tls:
    """Files with certificates."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context with what the files hold now. Raises `CollectError`.

        Files that do not go together are read again for a moment: one of them may have been replaced before the other.
        """
        try:
            return patiently(self._context, OSError, ValueError)
        except (OSError, ValueError) as error:
            raise CollectError(
                "invalid", f"tls: {reason_of(error)}; check ca_file, cert_file and key_file"
            ) from None

    def mark(self) -> bytes | None:
        """Return what differs once a file has another content; None where one can't be read now."""
        return mark_of((self.ca_file, self.cert_file, self.key_file))

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(
            cafile=None if self.ca_file is None else str(self.ca_file)
        )
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        return context


def _no_password() -> str:
    raise ValueError("the key needs a password; use a key without a password")


@dataclass(frozen=True)
class Login:
    """User and password; the password may stand in a file."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None

    def read(self, key: str) -> tuple[str, str] | None:
        """Return user and password as they are now; None without a user. Raises `CollectError`."""
        if self.username is None:
            return None
        password = self.password or ""
        if self.password_file is not None:
            try:
                password = read_secret(f"{key}.password_file", self.password_file, public=True)
            except SecretFileError as error:
                raise CollectError("invalid", str(error)) from None
        learn_login(self.username, password)
        return self.username, password


def reason_of(error: BaseException) -> str:
    """Return the innermost reason in a chain of errors, in a few words."""
    seen: BaseException = error
    while True:
        inner: BaseException | None = getattr(seen, "reason", None) or seen.__cause__
        if inner is None and seen.args and isinstance(seen.args[-1], BaseException):
            inner = seen.args[-1]
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    text = getattr(seen, "strerror", None) or str(seen) or type(seen).__name__
    return shown(str(text).split("(_ssl.c")[0].strip(), SHOWN)
