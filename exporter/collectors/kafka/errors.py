"""What librdkafka's error codes mean to a user of the exporter."""

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
"""The cluster has no such feature: nothing is wrong, and asking again is of no use."""

_SILENT = _TIMEOUT | {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
"""Codes of requests that got no answer, and don't know why."""

_TLS_ADVICE = "check security.protocol and the ssl.* files under `client`"
_CONTROLLER = "this seems to be a controller, which does not serve clients; bootstrap_servers must list brokers"
_ADVICE = {
    KafkaError._AUTHENTICATION: "check sasl.mechanism, sasl.username and sasl.password under `client`",
    KafkaError._SSL: _TLS_ADVICE,
    KafkaError._RESOLVE: "check the host names in bootstrap_servers",
    KafkaError._TRANSPORT: "check bootstrap_servers, security.protocol and that a broker listens there",
    KafkaError._ALL_BROKERS_DOWN: "check bootstrap_servers, security.protocol and that a broker listens there",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give the user Describe on the cluster",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give the user Describe on the group",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give the user Describe on the topic",
}

_MISMATCHES = (
    (
        "closed by peer.*in state APIVERSION_QUERY",
        "the listener there most likely expects TLS: set security.protocol to SSL or SASL_SSL under `client`",
    ),
    (
        r"closed by peer.*\(after \d{1,2}ms in state UP",
        "the listener there most likely expects a login: set security.protocol and sasl.* under `client`",
    ),
    (
        "connecting to a PLAINTEXT broker listener",
        "the listener there has no TLS: set security.protocol to PLAINTEXT or SASL_PLAINTEXT under `client`",
    ),
    (
        r"supported mechanisms:\s*(\(after|$)",
        "the listener there does not use a login: set security.protocol to PLAINTEXT or SSL under `client`",
    ),
    (
        r'"status":\s*"invalid_token"',
        (
            "the broker does not accept the token: compare its issuer, audience, scope and lifetime with the broker's "
            "sasl.oauthbearer.* settings, and the clocks"
        ),
    ),
    (
        "GSSAPI Error",
        (
            "check sasl.kerberos.principal, sasl.kerberos.keytab and sasl.kerberos.service.name under `client`, that "
            "kinit is installed, and that the KDC can be reached; kinit says more on standard error"
        ),
    ),
)
"""What the library's text gives away of a listener that speaks another protocol than the config says, or of a login."""


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
    """Sort an error into the reasons that `mq_collect_failures_total` knows."""
    code = error.code()
    if code in _UNAUTHORIZED:
        return "unauthorized"
    if code in _UNREACHABLE:
        return "unreachable"
    if code in _TIMEOUT:
        return "timeout"
    return "invalid"


def is_tls(error: KafkaError) -> bool:
    """Tell whether TLS was not agreed upon: librdkafka calls that a transport's failure, too."""
    code = error.code()
    return code == KafkaError._SSL or (code == KafkaError._TRANSPORT and "SSL" in error.str())


def is_silent(error: KafkaError) -> bool:
    """Tell whether a request got no answer, and does not know why."""
    return error.code() in _SILENT


def explains(hint: KafkaError, error: KafkaError) -> bool:
    """Tell whether what the connection complained of says more than the request's own failure."""
    return error.code() in _SILENT and (
        hint.code() != KafkaError._ALL_BROKERS_DOWN or error.code() in _TIMEOUT
    )


def harmless(text: str) -> str:
    """Return librdkafka's message without the property's value that it quotes."""
    for pattern, instead in _VALUES:
        text = pattern.sub(instead, text)
    return text.strip()


def describe(error: KafkaError, advice: str | None = None) -> str:
    """Say what happened and what to do about it: `advice`, or what is known to help."""
    text = harmless(error.str()).removesuffix(".")
    if advice is None:
        advice = _mismatch(text) or (_TLS_ADVICE if is_tls(error) else _ADVICE.get(error.code()))
    return f"{text}; {advice}" if advice else text


def _mismatch(text: str) -> str | None:
    return next((advice for pattern, advice in _MISMATCHES if re.search(pattern, text)), None)


def describe_right(error: KafkaError, right: str) -> str:
    """Say what happened, and which right to give where it is a right that is missing."""
    return describe(error, right if reason_of(error) == "unauthorized" else None)


def kafka_error(error: object) -> KafkaError | None:
    """Return the KafkaError that an exception of the client has, or that it is: a listing's faults are bare ones."""
    if isinstance(error, KafkaError):
        return error
    if isinstance(error, KafkaException) and error.args:
        inner = error.args[0]
        if isinstance(inner, KafkaError):
            return inner
    return None


class RefusedError(KafkaException):
    """The client library refused something by itself: no broker was asked, or its answer could not be taken."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)

    def __str__(self) -> str:
        cause = self.args[0]
        return f"refused by the client library: {type(cause).__name__}: {cause}"


def is_part(error: BaseException) -> bool:
    """Tell whether the client library refuses what it was asked, and not to be asked at all."""
    inner = kafka_error(error)
    return inner is None or inner.code() == KafkaError._INVALID_ARG


def collect_error(error: KafkaError, hint: KafkaError | None) -> CollectError:
    """Turn an error into the task's failure; `hint` is what the connection last complained of.

    A request without an answer does not know that no broker could be reached, or that the password is wrong.
    """
    if hint is not None and explains(hint, error):
        error = hint
    if error.code() in UNSUPPORTED:
        return CollectError("invalid", describe(error, _CONTROLLER))
    return CollectError(reason_of(error), describe(error))


def problem(subject: str, error: object) -> Problem:
    """Say which part of an answer is missing, and why."""
    inner = kafka_error(error)
    if isinstance(error, RefusedError):
        return Problem("invalid", subject, str(error))
    if inner is None:
        return Problem("internal", subject, f"{type(error).__name__}: {error}")
    return Problem(reason_of(inner), subject, describe(inner))
