"""Why requests of a client fail: what the connection complains of explains those that only got no answer."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping

import structlog
from confluent_kafka import KafkaError

from exporter.collectors.kafka.complaints import (
    Complaint,
    Throttling,
    Unreached,
    bootstrap_addresses,
    parse_complaint,
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
"""Seconds for which a complaint of the connection explains a time-out."""
HINT_WEIGHS = 5.0
"""Seconds for which a weighty complaint is not replaced by a lesser one."""


class Diagnosis:
    """What the connection of one client has complained of, and the failures that it explains. Any thread may call it."""

    def __init__(self, source: str) -> None:
        self._hint: KafkaError | None = None
        self._hinted = 0.0
        self._bootstrap: frozenset[str] = frozenset()
        self._unreached = Unreached()
        self._throttling = Throttling()
        self._log = structlog.get_logger(__name__).bind(source=source)

    # What is heard

    def configured(self, servers: str) -> None:
        """Take the `bootstrap.servers` in force: only other addresses count as advertised by a broker."""
        self._bootstrap = bootstrap_addresses(servers)

    def hear_line(self, line: str) -> None:
        """Take a line of librdkafka's log: some complaints are made nowhere else."""
        complaint = parse_complaint(line)
        if complaint is None:
            return
        self._unreached.hear(complaint)
        if complaint.closed_early():
            text = f"{complaint.address}: {complaint.text}"
            self._take_hint(KafkaError(KafkaError._TRANSPORT, text))

    def hear_error(self, error: KafkaError) -> None:
        """Take an error of the connection, which belongs to no request."""
        complaint = parse_complaint(error.str())
        if complaint is not None:
            self._unreached.hear(complaint)
            if self._is_elsewhere(complaint):
                return
        self._take_hint(error)

    def hear_throttling(self, seconds: float) -> None:
        """Take the delay of one answer, because of a quota."""
        self._throttling.hear(seconds)

    def answered(self, brokers: Collection[int]) -> None:
        """Note which brokers have answered: they can be reached."""
        self._unreached.answered(brokers)

    def forget_error(self) -> None:
        """Forget the error of the connection: the cluster has answered, or the secrets are other ones now."""
        self._hint = None

    def _is_elsewhere(self, complaint: Complaint) -> bool:
        """Whether it is of the connection to an address that is none of the config's: that has its own message."""
        return complaint.unconnected() is not None and complaint.address not in self._bootstrap

    def _take_hint(self, error: KafkaError) -> None:
        reason = reason_of(error)
        if reason not in ("unauthorized", "unreachable"):
            return
        known, now = self._hint, time.monotonic()
        if known is None or now - self._hinted > HINT_WEIGHS or _weight(error) <= _weight(known):
            self._hint, self._hinted = error, now
        self._log.debug("connection.error", reason=reason, error=harmless(error.str()))

    # What it explains

    def unreached_nodes(self) -> Mapping[int, str]:
        """Return the ids of brokers that cannot be connected to, and where and why."""
        return self._unreached.nodes()

    def unreached_message(self) -> str | None:
        """Say which advertised addresses cannot be reached; None where that is not what is wrong."""
        return self._unreached.message(self._bootstrap)

    def explain(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return the cause of problems, where it is known: addresses that lead nowhere, or a quota."""
        reasons = {problem.reason for problem in problems}
        message = self.unreached_message()
        if reasons and message is not None:
            return (Problem("unreachable", "brokers", message),)
        message = self._throttling.message()
        if "timeout" in reasons and message is not None:
            return (Problem("timeout", "brokers", message),)
        return ()

    def fault(self, error: BaseException, lack: CollectError | None) -> CollectError:
        """Turn an exception of the client into the failure of a task; `lack` says why there is no token to log in."""
        inner = kafka_error(error)
        if isinstance(error, RefusedError):
            return CollectError("invalid", str(error))
        if inner is None:
            return CollectError("internal", f"{type(error).__name__}: {error}")
        if lack is not None and (is_silent(inner) or reason_of(inner) == "unauthorized"):
            return lack
        hint = self._recent_hint()
        if is_silent(inner) and (hint is None or reason_of(hint) != "unauthorized"):
            message = self.unreached_message()
            if message is not None:
                return CollectError("unreachable", message)
            message = self._throttling.message()
            if message is not None and reason_of(inner) == "timeout":
                return CollectError("timeout", message)
        return collect_error(inner, hint)

    def unanswered(self, problem: Problem, lack: CollectError | None) -> CollectError:
        """Turn what no broker answered into the failure of a task; `lack` says why there is no token to log in."""
        if lack is not None:
            return lack
        message, hint = self.unreached_message(), self._recent_hint()
        if message is not None and (hint is None or reason_of(hint) != "unauthorized"):
            return CollectError("unreachable", message)
        message = self._throttling.message()
        if message is not None and problem.reason == "timeout":
            return CollectError("timeout", message)
        if hint is None:
            return CollectError(problem.reason, f"{problem.subject}: {problem.message}")
        return CollectError(reason_of(hint), describe(hint))

    def _recent_hint(self) -> KafkaError | None:
        """Return what the connection complained of, while that can explain a failure."""
        return self._hint if time.monotonic() - self._hinted < HINT_VALID else None


def _weight(error: KafkaError) -> int:
    """Order errors by how much they explain: rights before TLS before names before a closed port."""
    code = error.code()
    if reason_of(error) == "unauthorized":
        return 0
    if is_tls(error):
        return 1
    if code == KafkaError._RESOLVE:
        return 2
    return 4 if code == KafkaError._ALL_BROKERS_DOWN else 3
