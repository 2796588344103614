"""The web settings at one moment, for all connections."""

import ipaddress
import ssl
from dataclasses import dataclass
from typing import cast

from exporter.web.webconfig.rate_limit import RateLimit
from exporter.web.webconfig.users import Users


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The content of the file at one moment."""

    context: ssl.SSLContext | None
    client_sans: frozenset[str] | None  # None: any
    headers: tuple[tuple[str, str], ...]
    users: Users
    rate: RateLimit

    def allow_client(self, connection: ssl.SSLSocket) -> bool:
        """Return whether the client's verified certificate has an allowed name.

        True if none are set.
        """
        if self.client_sans is None:
            return True
        certificate = connection.getpeercert() or {}
        # typeshed has one type for all fields of a certificate; this one is pairs of kind and value
        names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
        return any(comparable_san(kind, value) in self.client_sans for kind, value in names)


def comparable_san(kind: str, value: str) -> str:
    """Normalize a subject alternative name, so that different spellings compare equal."""
    try:
        return str(ipaddress.ip_address(value.strip())) if kind in ("", "IP Address") else value
    except ValueError:
        return value
