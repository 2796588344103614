"""Turns pika's errors into messages that say what is wrong and what to do."""

from __future__ import annotations

from typing import Any

from pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    IncompatibleProtocolError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from exporter.collectors.access import SHOWN, reason_of
from exporter.model import CollectError, Reason
from exporter.scrub import shown

ACCESS_REFUSED = 403
NOT_FOUND = 404
RIGHTS = (
    "the probe needs configure ^NAME\\..*, write ^(amq\\.default|NAME\\..*)$ and read ^NAME\\..* "
    "in its vhost, where NAME is probe.destination"
)

_KNOWN: tuple[tuple[type | tuple[type, ...], Reason, str], ...] = (
    (
        (AuthenticationError, ProbableAuthenticationError),
        "unauthorized",
        "login rejected; check username and password",
    ),
    (
        ProbableAccessDeniedError,
        "unauthorized",
        "the user has no access to the vhost; check probe.vhost and the user's permissions in it",
    ),
    (
        IncompatibleProtocolError,
        "invalid",
        (
            "the server does not speak AMQP 0-9-1; check amqp_url, which must begin with amqps:// "
            "if the port uses TLS"
        ),
    ),
    (TimeoutError, "timeout", "no connection in time"),
)


def fault_of(error: Any) -> CollectError:
    """Return the error of a connection or channel as a `CollectError`."""
    if isinstance(error, CollectError):
        return error
    for kind, reason, text in _KNOWN:
        if isinstance(error, kind):
            return CollectError(reason, text)
    if isinstance(error, ChannelClosedByBroker | ConnectionClosedByBroker):
        return _closed(error.reply_code, shown(error.reply_text, SHOWN))
    inner = _inner(error)
    if inner is not None:
        return fault_of(inner)
    if "timeout" in type(error).__name__.lower():
        return CollectError("timeout", "no connection in time")
    text = f"{reason_of(error)}; check amqp_url and that a node listens there"
    return CollectError("unreachable", text)


def _inner(error: Any) -> BaseException | None:
    """Return the cause of a connection's error, which pika wraps, often several times."""
    found: Any = error
    while True:
        tried = getattr(found, "exceptions", None) or [getattr(found, "exception", None)]
        inner = tried[-1]
        if inner is None and isinstance(found, AMQPConnectionError):
            inner = next(iter(found.args), None)
        if not isinstance(inner, BaseException):
            return None if found is error else found
        found = inner


def _closed(code: int, text: str) -> CollectError:
    if code == ACCESS_REFUSED:
        return CollectError("unauthorized", f"{text}; {RIGHTS}")
    if code == NOT_FOUND:
        return CollectError("invalid", f"{text}; check probe.vhost")
    return CollectError("unreachable", f"closed by the node ({code}): {text}")
