"""The meaning of librdkafka's error codes for users of the exporter."""

from __future__ import annotations

import re

from confluent_kafka import KafkaError, KafkaException

from exporter.model import CollectError, Problem, Reason

_UNAUTHORIZED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
_UNREACHABLE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError._DESTROY,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
    }
)
_TIMEOUT = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError.REQUEST_TIMED_OUT}
)
GONE = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.GROUP_ID_NOT_FOUND,
    }
)
UNSUPPORTED = frozenset({KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION})
"""The cluster does not support the feature: no error, and retries are pointless."""

_SILENT = _TIMEOUT | {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
"""Codes of requests without an answer, which do not tell the cause."""

_TLS_ADVICE = "check security.protocol and the ssl.* files under `client`"
_CONTROLLER = (
    "this seems to be a controller, which does not serve clients; bootstrap_servers must list "
    "brokers"
)
_ADVICE = {
    KafkaError._AUTHENTICATION: (
        "check sasl.mechanism, sasl.username and sasl.password under `client`"
    ),
    KafkaError._SSL: _TLS_ADVICE,
    KafkaError._RESOLVE: "check the host names in bootstrap_servers",
    KafkaError._TRANSPORT: (
        "check bootstrap_servers, security.protocol and that a broker listens there"
    ),
    KafkaError._ALL_BROKERS_DOWN: (
        "check bootstrap_servers, security.protocol and that a broker listens there"
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give the user Describe on the cluster",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give the user Describe on the group",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give the user Describe on the topic",
}

_MISMATCHES = (
    (
        "closed by peer.*in state APIVERSION_QUERY",
        (
            "the listener there most likely expects TLS: set security.protocol to SSL or SASL_SSL "
            "under `client`"
        ),
    ),
    (
        r"closed by peer.*\(after \d{1,2}ms in state UP",
        (
            "the listener there most likely expects a login: set security.protocol and sasl.* "
            "under `client`"
        ),
    ),
    (
        "connecting to a PLAINTEXT broker listener",
        (
            "the listener there has no TLS: set security.protocol to PLAINTEXT or SASL_PLAINTEXT "
            "under `client`"
        ),
    ),
    (
        "closed by peer.*in state SSL_HANDSHAKE",
        (
            "the listener there most likely has no TLS: set security.protocol to PLAINTEXT or "
            "SASL_PLAINTEXT under `client`; if it has TLS, check the ssl.* files"
        ),
    ),
    (
        r"supported mechanisms:\s*(\(after|$)",
        (
            "the listener there does not use a login: set security.protocol to PLAINTEXT or SSL "
            "under `client`"
        ),
    ),
    (
        r'"status":\s*"invalid_token"',
        (
            "the broker does not accept the token: compare its issuer, audience, scope and "
            "lifetime with the broker's sasl.oauthbearer.* settings, and the clocks"
        ),
    ),
    (
        "GSSAPI Error",
        (
            "check sasl.kerberos.principal, sasl.kerberos.keytab and sasl.kerberos.service.name "
            "under `client`, that kinit is installed, and that the KDC can be reached; kinit says "
            "more on standard error"
        ),
    ),
)
"""Error texts that reveal a listener with another protocol than configured, or a login problem."""


_VALUES = [
    (re.compile(pattern, re.DOTALL), instead)
    for pattern, instead in (
        (
            r'Invalid value ".*" for configuration property',
            "Invalid value for configuration property",
        ),
        (r'(property "[^"]*") value .* is outside', r"\1 is outside"),
        (r"(sasl\.oauthbearer\.config) beginning at: .*", r"\1"),
        (r"(client: Unsupported SASL mechanism): .*", r"\1"),
        (r"(No provider for SASL mechanism) .*", r"\1 that sasl.mechanism names"),
    )
]


def reason_of(error: KafkaError) -> Reason:
    """Map an error to a `reason` of `mq_collect_failures_total`."""
    code = error.code()
    if code in _UNAUTHORIZED:
        return "unauthorized"
    if code in _UNREACHABLE:
        return "unreachable"
    if code in _TIMEOUT:
        return "timeout"
    return "invalid"


def is_tls(error: KafkaError) -> bool:
    """Return whether TLS failed; librdkafka may report that as a transport failure."""
    code = error.code()
    return code == KafkaError._SSL or (code == KafkaError._TRANSPORT and "SSL" in error.str())


def is_silent(error: KafkaError) -> bool:
    """Return whether a request got no answer, so that its error does not tell the cause."""
    return error.code() in _SILENT


def explains(hint: KafkaError, error: KafkaError) -> bool:
    """Return whether a connection error explains more than the request's own error."""
    return error.code() in _SILENT and (
        hint.code() != KafkaError._ALL_BROKERS_DOWN or error.code() in _TIMEOUT
    )


_ASIDE = re.compile(r" \(after \d+ms in state \w+(, \d+ identical error\(s\) suppressed)?\)")
"""What librdkafka adds to errors of connections. It tells users nothing."""


def harmless(text: str) -> str:
    """Return librdkafka's message without quoted property values."""
    for pattern, instead in _VALUES:
        text = pattern.sub(instead, text)
    return text.strip()


def describe(error: KafkaError, advice: str | None = None) -> str:
    """Describe the error and what to do: `advice`, or the default advice for the error."""
    text = harmless(error.str()).removesuffix(".")
    if advice is None:
        advice = _mismatch(text) or (_TLS_ADVICE if is_tls(error) else _ADVICE.get(error.code()))
    text = _ASIDE.sub("", text)
    return f"{text}; {advice}" if advice else text


def _mismatch(text: str) -> str | None:
    return next((advice for pattern, advice in _MISMATCHES if re.search(pattern, text)), None)


def describe_right(error: KafkaError, right: str) -> str:
    """Describe the error; if a right is missing, name the `right` to grant."""
    return describe(error, right if reason_of(error) == "unauthorized" else None)


def kafka_error(error: object) -> KafkaError | None:
    """Return the KafkaError of an exception, or the argument if it is one (as in group lists)."""
    if isinstance(error, KafkaError):
        return error
    if isinstance(error, KafkaException) and error.args:
        inner = error.args[0]
        if isinstance(inner, KafkaError):
            return inner
    return None


class RefusedError(KafkaException):
    """The client library refused a request before sending it, or failed to parse the answer."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)

    def __str__(self) -> str:
        cause = self.args[0]
        return f"refused by the client library: {type(cause).__name__}: {cause}"


def is_argument_error(error: BaseException) -> bool:
    """Return whether the library refuses the argument of a call, and not the call as such."""
    inner = kafka_error(error)
    return inner is None or inner.code() == KafkaError._INVALID_ARG


def collect_error(error: KafkaError, hint: KafkaError | None) -> CollectError:
    """Turn an error into the failure of a task; `hint` is the last connection error.

    A request without an answer does not tell that no broker was reachable, or that the password is
    wrong.
    """
    if hint is not None and explains(hint, error):
        error = hint
    if error.code() in UNSUPPORTED:
        return CollectError("invalid", describe(error, _CONTROLLER))
    return CollectError(reason_of(error), describe(error))


def problem(subject: str, error: object) -> Problem:
    """Return a problem: the missing `subject`, and why it is missing."""
    inner = kafka_error(error)
    if isinstance(error, RefusedError):
        return Problem("invalid", subject, str(error))
    if inner is None:
        return Problem("internal", subject, f"{type(error).__name__}: {error}")
    return Problem(reason_of(inner), subject, describe(inner))
