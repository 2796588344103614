"""The connection to one cluster: an admin client that is made anew now and then, and what it complained of."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from exporter.collectors.kafka.errors import (
    collect_error,
    describe,
    harmless,
    is_tls,
    kafka_error,
    reason_of,
)
from exporter.model import CollectError, Deadline, Problem
from exporter.secrets import SecretFileError

T = TypeVar("T")

DEFAULTS: Mapping[str, str] = {
    "client.id": "mq-lag-exporter",
    # A broker that accepts and never answers must be given up within a cycle, not after librdkafka's minute.
    "socket.timeout.ms": "10000",
    "socket.connection.setup.timeout.ms": "5000",
    # A broker that is back must be found within an interval.
    "reconnect.backoff.ms": "100",
    "reconnect.backoff.max.ms": "2000",
    "retry.backoff.ms": "100",
    "allow.auto.create.topics": "false",
    "enable.metrics.push": "false",
    "log.connection.close": "false",
}
MAX_AGE = 6 * 3600.0
"""Seconds after which the client is replaced: librdkafka keeps a handle for every topic that it ever saw."""
MAX_NAMES_SEEN = 10_000
"""Distinct topics and groups, beyond those that exist, after which it is replaced sooner."""
OUTLIVES = 60.0
"""Seconds by which a request to a group's coordinator outlives the task's own deadline.

One whose time is up inside librdkafka can abort the process when its coordinator answers after all (librdkafka#4605);
so the task stops waiting first, and the client is let go of with the request.
"""
GRACE = 1.0
"""Seconds that librdkafka may be late with the failure of a request whose time is up."""
HINT_VALID = 12.0
"""Seconds for which a complaint of the connection explains a time-out."""
HINT_WEIGHS = 5.0
"""Seconds for which a weighty complaint is not replaced by a lesser one."""


class KafkaClient:
    """Makes calls of one cluster's admin client, with deadlines and with errors that say what holds."""

    def __init__(self, source: str, properties: Callable[[], Mapping[str, str]]) -> None:
        self._source = source
        self._properties = properties
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._retired: AdminClient | None = None
        """The client before: it answers what was asked of it, and would not if it were garbage."""
        self._made = 0.0
        self._hint: KafkaError | None = None
        self._hinted = 0.0
        self._log = structlog.get_logger(__name__).bind(source=source)

    def properties(self) -> dict[str, Any]:
        """Return the librdkafka properties in force, secrets read anew.

        Raises `CollectError` where a secret's file can't be read.
        """
        try:
            given = self._properties()
        except SecretFileError as error:
            raise CollectError("invalid", str(error)) from None
        return {
            **DEFAULTS,
            **given,
            "error_cb": self._on_error,
            "logger": _librdkafka_logger(self._source),
        }

    @property
    def admin(self) -> AdminClient:
        """The admin client; made at the first use."""
        with self._lock:
            if self._admin is None:
                try:
                    self._admin = AdminClient(self.properties())
                except KafkaException as error:
                    raise CollectError("invalid", _configuration_fault(error)) from None
                self._made = time.monotonic()
            admin = self._admin
        # Serves what it has to say: complaints, and tokens that are to be renewed.
        admin.poll(0)
        return admin

    def renew_if_due(self, names_seen: int) -> bool:
        """Replace the client where it is old or has seen too many names; calls under way end with the old one."""
        with self._lock:
            if self._admin is None:
                return False
            age = time.monotonic() - self._made
            if age < MAX_AGE and names_seen < MAX_NAMES_SEEN:
                return False
            self._retired, self._admin = self._admin, None
        self._log.info("client.renewed", age_seconds=round(age), names_seen=names_seen)
        return True

    def renew(self) -> None:
        """Replace the client at its next use; calls under way end with the old one."""
        with self._lock:
            if self._admin is not None:
                self._retired, self._admin = self._admin, None

    def drop_after(self, problems: Iterable[Problem]) -> None:
        """Let go of the client where an answer did not come in time.

        librdkafka goes on asking a group's coordinator where it last was, even when that is another broker by now
        (librdkafka#3847), and a request whose time was up can abort the process when its coordinator comes
        back (librdkafka#4605). A new client knows of neither.
        """
        if any(problem.reason in ("timeout", "unreachable") for problem in problems):
            self.drop()

    def drop(self) -> None:
        """Let go of the client; the next call connects anew, with secrets read anew."""
        with self._lock:
            self._admin = self._retired = None

    def metadata(self, deadline: Deadline, attempt: float) -> ClusterMetadata:
        """Return brokers and topics. Tries again while time is left, since one attempt asks one broker only.

        Raises `CollectError` where no broker answers; then the client is let go of, so that the next one takes
        secrets and certificates as they are by then.
        """
        while True:
            try:
                found = self.admin.list_topics(timeout=min(attempt, max(deadline.remaining(), 0.1)))
            except KafkaException as error:
                fault = self.fault(error)
                if deadline.remaining() < attempt or fault.reason == "unauthorized":
                    self.drop()
                    raise fault from None
            else:
                self._hint = None
                return found

    def wait(self, future: Future[T], timeout: float, grace: float = GRACE) -> T:
        """Return the future's result; raises what the future raises, or `KafkaException` when time is up."""
        try:
            return future.result(timeout + grace)
        except FutureTimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None

    def fault(self, error: BaseException) -> CollectError:
        """Turn an exception of the client into the failure of a task."""
        self.admin.poll(0)
        inner = kafka_error(error)
        if inner is None:
            return CollectError("internal", f"{type(error).__name__}: {error}")
        return collect_error(inner, self._recent_hint())

    def unreached(self, problem: Problem) -> CollectError:
        """Turn what no broker answered into the failure of a task."""
        self.admin.poll(0)
        self.drop()
        hint = self._recent_hint()
        if hint is None:
            return CollectError(problem.reason, f"{problem.subject}: {problem.message}")
        return CollectError(reason_of(hint), describe(hint))

    def _recent_hint(self) -> KafkaError | None:
        """Return what the connection complained of, while that can explain a failure."""
        return self._hint if time.monotonic() - self._hinted < HINT_VALID else None

    def _on_error(self, error: KafkaError) -> None:
        reason = reason_of(error)
        if reason not in ("unauthorized", "unreachable"):
            return
        known, now = self._hint, time.monotonic()
        if known is None or now - self._hinted > HINT_WEIGHS or _weight(error) <= _weight(known):
            self._hint, self._hinted = error, now
        self._log.debug("connection.error", reason=reason, error=harmless(error.str()))


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


def _configuration_fault(error: KafkaException) -> str:
    """Say which property librdkafka refuses, and never the value, which may be a secret."""
    inner = kafka_error(error)
    text = harmless(inner.str()) if inner is not None else ""
    return f"librdkafka refuses the properties under `client`: {text}"


class _Forward(logging.Handler):
    """Hands librdkafka's log lines to structlog."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._log = structlog.get_logger("librdkafka").bind(source=source)

    def emit(self, record: logging.LogRecord) -> None:
        # What matters is reported by the task that fails; these lines repeat it many times a second.
        self._log.debug("librdkafka.message", text=harmless(record.getMessage()))


def _librdkafka_logger(source: str) -> logging.Logger:
    logger = logging.Logger(f"librdkafka.{source}", logging.INFO)  # noqa: LOG001 - not shared, so not leaked
    logger.addHandler(_Forward(source))
    return logger
