"""Connection security from librdkafka's properties; some of them only librdkafka supports."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.collectors.access import reason_of
from exporter.collectors.kafka.login.mechanisms import CALLBACK
from exporter.collectors.kafka.login.tokens import Tokens
from exporter.collectors.kafka.raw.scram import HASHES
from exporter.model import CollectError
from exporter.secret_files import patiently

MECHANISMS = ("PLAIN", *HASHES)
PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
TLS_PROPERTIES = frozenset(
    {
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.key.password",
    }
)
"""Supported properties that begin with `ssl.`"""


class LibrdkafkaOnlyError(Exception):
    """A property has a value that only librdkafka supports; names it, without a secret."""


@dataclass(frozen=True)
class Security:
    """How to connect to brokers."""

    tls: Mapping[str, str] | None = field(repr=False)
    """TLS properties; None for a plain connection."""
    mechanism: str | None
    """SASL mechanism; None without SASL."""
    username: str = ""
    password: str = field(default="", repr=False)
    tokens: Tokens | None = field(default=None, repr=False)
    """The tokens of OAUTHBEARER."""

    def context(self) -> ssl.SSLContext | None:
        """Return a context with the current files; None for a plain connection.

        Raises `CollectError`.
        """
        tls = self.tls
        if tls is None:
            return None
        try:
            return patiently(lambda: _context(tls), OSError, ValueError)
        except (OSError, ValueError) as error:
            text = f"{reason_of(error)}; check the ssl.* files under `client`"
            raise CollectError("invalid", text) from None


def security_of(properties: Mapping[str, object]) -> Security:
    """Return how to connect. Raises `LibrdkafkaOnlyError` if only librdkafka can."""
    given = {name: str(value) for name, value in properties.items()}
    protocol = given.get("security.protocol", "plaintext").lower()
    if protocol not in PROTOCOLS:
        raise LibrdkafkaOnlyError(f"security.protocol {protocol}")
    tls = _tls(given) if protocol.endswith("ssl") else None
    if not protocol.startswith("sasl"):
        return Security(tls, None)
    mechanism = given.get("sasl.mechanism") or given.get("sasl.mechanisms") or "GSSAPI"
    if mechanism == "OAUTHBEARER":
        if CALLBACK not in properties:
            raise LibrdkafkaOnlyError(f"sasl.mechanism {mechanism} and tokens that it gets itself")
        tokens = properties[CALLBACK]
        return Security(tls, mechanism, tokens=tokens if isinstance(tokens, Tokens) else None)
    if mechanism not in MECHANISMS:
        raise LibrdkafkaOnlyError(f"sasl.mechanism {mechanism}")
    return Security(tls, mechanism, given.get("sasl.username", ""), given.get("sasl.password", ""))


def _tls(given: Mapping[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if name.startswith("ssl.") and name not in TLS_PROPERTIES and value:
            raise LibrdkafkaOnlyError(f"the property {name}")
    wanted = TLS_PROPERTIES | {"enable.ssl.certificate.verification"}
    return {name: value for name, value in given.items() if name in wanted and value}


def _context(tls: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if tls.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    location, pem = tls.get("ssl.ca.location"), tls.get("ssl.ca.pem")
    if pem is not None:
        context.load_verify_locations(cadata=pem)
    elif location in (None, "probe"):
        context.load_default_certs()
    elif location is not None and Path(location).is_dir():
        context.load_verify_locations(capath=location)
    else:
        context.load_verify_locations(cafile=location)
    if "ssl.certificate.location" in tls:
        password = tls.get("ssl.key.password", "")
        context.load_cert_chain(
            tls["ssl.certificate.location"], tls.get("ssl.key.location"), lambda: password
        )
    return context
