"""TLS certificates and logins of brokers that are read by HTTP. Needs no HTTP library."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from exporter.model import CollectError
from exporter.scrub import learn_login, shown
from exporter.secret_files import SecretFileError, mark_of, patiently, read_secret

SHOWN = 200
"""Largest number of characters of a server's or a library's text in an error message."""


@dataclass(frozen=True)
class Tls:
    """Files with certificates and keys."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return a TLS context from the current content of the files. Raises `CollectError`.

        Files that do not match are read again for a moment, because one of them may have been
        replaced before the other.
        """
        try:
            return patiently(self._context, OSError, ValueError)
        except (OSError, ValueError) as error:
            raise CollectError(
                "invalid", f"tls: {reason_of(error)}; check ca_file, cert_file and key_file"
            ) from None

    def mark(self) -> bytes | None:
        """Return a value that changes with the content of the files.

        None if one cannot be read now.
        """
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
    """User and password; the password may be in a file."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None

    def read(self, key: str) -> tuple[str, str] | None:
        """Return the current user and password; None without a user. Raises `CollectError`."""
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
    """Return the innermost reason in a chain of errors, shortened."""
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
