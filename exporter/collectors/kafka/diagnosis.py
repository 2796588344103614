"""Explains failed requests by connection errors, if the request itself only got no answer."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping

import structlog
from confluent_kafka import KafkaError

from exporter.collectors.kafka.connection_errors import (
    BrokerError,
    Throttling,
    UnreachableBrokers,
    bootstrap_addresses,
    parse_broker_error,
)
from exporter.collectors.kafka.errors import (
    RefusedError,
    collect_error,
    describe,
    harmless,
    is_silent,
    is_tls,
    kafka_error,
    reason_of,
)
from exporter.model import CollectError, Problem

HINT_VALID = 12.0
"""Seconds for which a connection error explains a timeout."""
HINT_WEIGHS = 5.0
"""Seconds for which an error is not replaced by one that explains less."""


class Diagnosis:
    """The connection errors of one client, and the failures they explain. Thread-safe."""

    def __init__(self, source: str) -> None:
        self._hint: KafkaError | None = None
        self._hinted = 0.0
        self._bootstrap: frozenset[str] = frozenset()
        self._unreachable = UnreachableBrokers()
        self._throttling = Throttling()
        self._log = structlog.get_logger(__name__).bind(source=source)

    # Input

    def configured(self, servers: str) -> None:
        """Set the current `bootstrap.servers`: only other addresses count as advertised."""
        self._bootstrap = bootstrap_addresses(servers)

    def add_log_line(self, line: str) -> None:
        """Parse a line of librdkafka's log: some errors appear only there."""
        broker_error = parse_broker_error(line)
        if broker_error is None:
            return
        self._unreachable.observe(broker_error)
        if broker_error.closed_early():
            text = f"{broker_error.address}: {broker_error.text}"
            self._keep_hint(KafkaError(KafkaError._TRANSPORT, text))

    def add_error(self, error: KafkaError) -> None:
        """Store a connection error, which belongs to no request."""
        broker_error = parse_broker_error(error.str())
        if broker_error is not None:
            self._unreachable.observe(broker_error)
            if self._is_elsewhere(broker_error):
                return
        self._keep_hint(error)

    def add_throttling(self, seconds: float) -> None:
        """Store the delay of one response by a quota, in seconds."""
        self._throttling.observe(seconds)

    def answered(self, brokers: Collection[int]) -> None:
        """Note that these brokers answered, so they are reachable."""
        self._unreachable.answered(brokers)

    def silent(self, brokers: Mapping[int, str]) -> None:
        """Note that these brokers did not answer in time: id to address."""
        self._unreachable.silent(brokers)

    def forget_error(self) -> None:
        """Forget the connection error: the cluster has answered, or the secrets have changed."""
        self._hint = None

    def _is_elsewhere(self, broker_error: BrokerError) -> bool:
        """Return whether the error is about an advertised address: that has its own message."""
        return (
            broker_error.connect_failure() is not None
            and broker_error.address not in self._bootstrap
        )

    def _keep_hint(self, error: KafkaError) -> None:
        reason = reason_of(error)
        if reason not in ("unauthorized", "unreachable"):
            return
        known, now = self._hint, time.monotonic()
        if known is None or now - self._hinted > HINT_WEIGHS or _weight(error) <= _weight(known):
            self._hint, self._hinted = error, now
        self._log.debug("connection.error", reason=reason, error=harmless(error.str()))

    # Output

    def unreachable_nodes(self) -> Mapping[int, str]:
        """Return unreachable brokers: id to address and cause."""
        return self._unreachable.nodes()

    def unreachable_message(self) -> str | None:
        """Describe unreachable advertised addresses; None if there are none."""
        return self._unreachable.message(self._bootstrap)

    def explain(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return the common cause of problems if known: unreachable addresses or a quota."""
        reasons = {problem.reason for problem in problems}
        message = self.unreachable_message() or self._unreachable.down_message()
        if reasons and message is not None:
            return (Problem("unreachable", "brokers", message),)
        message = self._throttling.message()
        if "timeout" in reasons and message is not None:
            return (Problem("timeout", "brokers", message),)
        return ()

    def fault(self, error: BaseException, token_fault: CollectError | None) -> CollectError:
        """Turn an exception of the client into the failure of a task.

        `token_fault` says why there is no login token; None if there is one.
        """
        inner = kafka_error(error)
        if isinstance(error, RefusedError):
            return CollectError("invalid", str(error))
        if inner is None:
            return CollectError("internal", f"{type(error).__name__}: {error}")
        if token_fault is not None and (is_silent(inner) or reason_of(inner) == "unauthorized"):
            return token_fault
        hint = self._recent_hint()
        if is_silent(inner) and (hint is None or reason_of(hint) != "unauthorized"):
            message = self.unreachable_message()
            if message is not None:
                return CollectError("unreachable", message)
            message = self._throttling.message()
            if message is not None and reason_of(inner) == "timeout":
                return CollectError("timeout", message)
        return collect_error(inner, hint)

    def unanswered(self, problem: Problem, token_fault: CollectError | None) -> CollectError:
        """Turn the lack of any answer into the failure of a task.

        `token_fault` says why there is no login token; None if there is one.
        """
        if token_fault is not None:
            return token_fault
        message, hint = self.unreachable_message(), self._recent_hint()
        if message is not None and (hint is None or reason_of(hint) != "unauthorized"):
            return CollectError("unreachable", message)
        message = self._throttling.message()
        if message is not None and problem.reason == "timeout":
            return CollectError("timeout", message)
        if hint is None:
            return CollectError(problem.reason, f"{problem.subject}: {problem.message}")
        return CollectError(reason_of(hint), describe(hint))

    def _recent_hint(self) -> KafkaError | None:
        """Return the last connection error if it can still explain a failure."""
        return self._hint if time.monotonic() - self._hinted < HINT_VALID else None


def _weight(error: KafkaError) -> int:
    """Rank errors by how much they explain: rights, TLS, host names, then closed ports."""
    code = error.code()
    if reason_of(error) == "unauthorized":
        return 0
    if is_tls(error):
        return 1
    if code == KafkaError._RESOLVE:
        return 2
    return 4 if code == KafkaError._ALL_BROKERS_DOWN else 3
