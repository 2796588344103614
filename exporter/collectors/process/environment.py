"""The environment of the source processes: only the variables that they need.

The daemon's own environment may have the passwords of all sources, since a config can take them
from there (`${NAME}`). The variables that only one source needs reach its process in the first
message (`messages.Setup`), so they are in no `/proc/PID/environ`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from exporter.collectors.process import allocator

KEPT: Mapping[str, tuple[str, ...]] = {
    "the interpreter and its libraries are found by them": (
        *("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
        *("PYTHONUTF8", "PYTHONIOENCODING", "PYTHONFAULTHANDLER", "PYTHONHASHSEED"),
    ),
    "libraries look for their files there": ("HOME", "USER", "LOGNAME", "TMPDIR"),
    "the language and the time of error messages": ("LANG", "LANGUAGE", "TZ", "TZDIR"),
    "the log's colours": ("TERM", "NO_COLOR", "FORCE_COLOR"),
    "certificates, and how OpenSSL is set up": (
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "OPENSSL_MODULES"),
    ),
    "how names are resolved": ("RES_OPTIONS", "LOCALDOMAIN", "HOSTALIASES"),
    "librdkafka asks an identity provider through a proxy": (
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    ),
}
"""Variable names that are passed on, grouped by the reason."""
KEPT_PREFIXES: Mapping[str, str] = {
    "LC_": "the language of error messages",
    "KRB5": "Kerberos: its configuration, its tickets, its trace",
    "MALLOC_": "how memory is allocated",
}
"""Prefixes of variable names that are passed on, and the reason."""
OF_A_MECHANISM: Mapping[str, str] = {"AWS_MSK_IAM": "AWS_"}
"""SASL mechanism to the prefix of the variables with its cloud credentials. Only sources with this
mechanism get them.
"""

TICKETS = "KRB5CCNAME"
"""The variable that says where Kerberos keeps tickets."""

_NAMES = frozenset(name for names in KEPT.values() for name in names)


def of_all(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that every child has."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in _NAMES or name.startswith(tuple(KEPT_PREFIXES))
    }
    return {**allocator.ENVIRONMENT, **kept}


def of_source(properties: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the additional variables for a source with these client properties."""
    given = properties.get("sasl.mechanism") or properties.get("sasl.mechanisms")
    mechanism = str(given or "GSSAPI").upper()
    if mechanism == "GSSAPI":
        return _tickets(properties, environ)
    prefix = OF_A_MECHANISM.get(mechanism)
    if prefix is None:
        return {}
    return {name: value for name, value in environ.items() if name.startswith(prefix)}


def _tickets(properties: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, str]:
    """Return a separate ticket cache for each Kerberos principal.

    With a shared cache, one source would log in as the user of another.
    """
    identity = [
        str(properties.get(f"sasl.kerberos.{name}", "")) for name in ("principal", "keytab")
    ]
    if TICKETS in environ or not any(identity):
        return {}
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    folder = environ.get("TMPDIR") or "/tmp"  # noqa: S108 - Kerberos's own default folder
    return {TICKETS: f"FILE:{folder}/krb5cc_{os.getuid()}_mq-lag-exporter-{digest}"}
