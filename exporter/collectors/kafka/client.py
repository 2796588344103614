"""The connection to one cluster: an admin client that is made anew now and then, and what it complained of."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from exporter.collectors.kafka.client_making import made
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
    is_part,
    is_silent,
    is_tls,
    kafka_error,
    reason_of,
)
from exporter.collectors.kafka.login.mechanisms import CALLBACK
from exporter.collectors.kafka.login.tokens import Tokens
from exporter.collectors.process.hazards import Hazards
from exporter.model import CollectError, Deadline, Problem
from exporter.secret_files import SecretFileError

K = TypeVar("K")
T = TypeVar("T")
U = TypeVar("U")

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
    # A listener that speaks another protocol closes connections, and only the log says so.
    "log.connection.close": "true",
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
SHORTEST = 1.0
"""Seconds that a request has inside librdkafka at the least.

One whose time is up while it is still being set up is used after it was freed: librdkafka 2.16's
rd_kafka_topic_partition_list_query_leaders_async starts the timer and goes on with the request in another thread. That
corrupts the heap ("double free or corruption").
"""
HINT_VALID = 12.0
"""Seconds for which a complaint of the connection explains a time-out."""
HINT_WEIGHS = 5.0
"""Seconds for which a weighty complaint is not replaced by a lesser one."""
NO_KERBEROS = "No provider for SASL mechanism GSSAPI:"
KERBEROS_ADVICE = (
    "sasl.mechanism GSSAPI (the default of librdkafka) needs a librdkafka with Kerberos support, which the "
    "confluent-kafka wheel does not include: install librdkafka, its headers and SASL's GSSAPI module, then "
    "pip install --no-binary confluent-kafka confluent-kafka; see `Kerberos` in docs/kafka.md. To use another login, "
    "set sasl.mechanism under `client`"
)


class KafkaClient:
    """Makes calls of one cluster's admin client, with deadlines and with errors that say what holds."""

    def __init__(
        self,
        source: str,
        properties: Callable[[], Mapping[str, Any]],
        hazards: Hazards | None = None,
    ) -> None:
        self.hazards = hazards or Hazards()
        """What the library may crash on when it is asked for it."""
        self._source = source
        self._properties = properties
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._retired: AdminClient | None = None
        """The client before: it answers what was asked of it, and would not if it were garbage."""
        self._made = 0.0
        self._generation = object()
        """Another one for each generation of secrets: complaints of older clients say nothing of the newer ones."""
        self._generation_before = self._generation
        self._hint: KafkaError | None = None
        self._hinted = 0.0
        self._bootstrap: frozenset[str] = frozenset()
        self._tokens: Tokens | None = None
        self._unreached = Unreached()
        self._throttling = Throttling()
        self._log = structlog.get_logger(__name__).bind(source=source)

    def properties(self) -> dict[str, Any]:
        """Return the librdkafka properties in force, secrets read anew.

        Raises `CollectError` where a secret's file can't be read, or no token can be had.
        """
        try:
            given = self._properties()
        except SecretFileError as error:
            raise CollectError("invalid", str(error)) from None
        self._bootstrap = bootstrap_addresses(given.get("bootstrap.servers", ""))
        tokens = given.get(CALLBACK)
        self._tokens = tokens if isinstance(tokens, Tokens) else None
        generation = self._generation

        def on_error(error: KafkaError) -> None:
            if generation is self._generation:
                self._on_error(error)

        return {
            **DEFAULTS,
            **given,
            "error_cb": on_error,
            "throttle_cb": lambda event: self._throttling.hear(event.throttle_time),
            "logger": _librdkafka_logger(self._source, self._on_line),
        }

    @property
    def admin(self) -> AdminClient:
        """The admin client; made at the first use."""
        with self._lock:
            if self._admin is None:
                self._admin = self._new_admin()
                self._made = time.monotonic()
            admin = self._admin
        # Serves what it has to say: complaints, and tokens that are to be renewed.
        admin.poll(0)
        return admin

    def _new_admin(self) -> AdminClient:
        """Return a client with the secrets of now; the one before, where no client can be made with them."""
        try:
            return made(AdminClient, self.properties)
        except KafkaException as error:
            fault = self._lack() or CollectError("invalid", _configuration_fault(error))
        except CollectError as error:
            fault = error
        if self._retired is None:
            raise fault
        self._generation = self._generation_before
        self._log.warning("client.secrets_unusable", error=str(fault))
        return self._retired

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
            self._generation, self._generation_before, self._hint = object(), self._generation, None
            if self._admin is not None:
                self._retired, self._admin = self._admin, None

    def begin(self) -> None:
        """Let go of the client before: no call is under way. It would go on to connect with old secrets."""
        with self._lock:
            if self._admin is not None:
                self._retired = None

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
                if fault.reason == "unauthorized" and self._tokens is not None:
                    self._tokens.refused()
                hopeless = fault.reason in ("unauthorized", "invalid")
                if deadline.remaining() < attempt or hopeless:
                    self.drop()
                    raise fault from None
            else:
                self._hint = None
                return found

    def seconds(self, deadline: Deadline) -> float:
        """Return the time to give to a request: what is left, and never less than librdkafka can bear."""
        return max(deadline.remaining(), SHORTEST)

    def ask(
        self, parts: Sequence[K], call: Callable[[list[K]], Mapping[Any, Future[T]]]
    ) -> list[tuple[K, Future[T]]]:
        """Make one call for all parts, and return the future of each.

        Where the library refuses the call, it is made for fewer parts at a time, until the part that it refuses is alone:
        that one's future has failed, and the others are asked for. `call` returns futures in the order of its parts.
        """
        if not parts:
            return []
        try:
            return list(zip(parts, call(list(parts)).values(), strict=True))
        except CollectError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the library raises, it is these parts' alone
            if len(parts) == 1 or not is_part(error):
                failed: Future[T] = Future()
                failed.set_exception(error)
                return [(part, failed) for part in parts]
        half = len(parts) // 2
        return [*self.ask(parts[:half], call), *self.ask(parts[half:], call)]

    def wait(self, future: Future[T], timeout: float, grace: float = GRACE) -> T:
        """Return the future's result. Raises `KafkaException` for whatever went wrong, and when time is up."""
        return self.read(future, timeout, _itself, grace)

    def read(
        self, future: Future[T], timeout: float, take: Callable[[T], U], grace: float = GRACE
    ) -> U:
        """Return what `take` makes of the future's result. Raises as `wait` does, also for what `take` raises."""
        try:
            return take(future.result(timeout + grace))
        except FutureTimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
        except KafkaException:
            raise
        except Exception as error:
            raise RefusedError(error) from error

    def answered(self, brokers: Collection[int]) -> None:
        """Note which brokers have answered: they can be reached."""
        self._unreached.answered(brokers)

    def unreached_nodes(self) -> Mapping[int, str]:
        """Return the ids of brokers that cannot be connected to, and where and why."""
        self._serve()
        return self._unreached.nodes()

    def explain(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return what lies behind problems, where it is known: addresses that lead nowhere, or a quota."""
        reasons = {problem.reason for problem in problems}
        message = self.unreached_message()
        if reasons and message is not None:
            return (Problem("unreachable", "brokers", message),)
        message = self._throttling.message()
        if "timeout" in reasons and message is not None:
            return (Problem("timeout", "brokers", message),)
        return ()

    def unreached_message(self) -> str | None:
        """Say which advertised addresses cannot be reached; None where that is not what is wrong."""
        self._serve()
        return self._unreached.message(self._bootstrap)

    def fault(self, error: BaseException) -> CollectError:
        """Turn an exception of the client into the failure of a task."""
        self.admin.poll(0)
        inner = kafka_error(error)
        if isinstance(error, RefusedError):
            return CollectError("invalid", str(error))
        if inner is None:
            return CollectError("internal", f"{type(error).__name__}: {error}")
        lack = self._lack()
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

    def unreached(self, problem: Problem) -> CollectError:
        """Turn what no broker answered into the failure of a task."""
        message, hint, lack = self.unreached_message(), self._recent_hint(), self._lack()
        self.drop()
        if lack is not None:
            return lack
        if message is not None and (hint is None or reason_of(hint) != "unauthorized"):
            return CollectError("unreachable", message)
        message = self._throttling.message()
        if message is not None and problem.reason == "timeout":
            return CollectError("timeout", message)
        if hint is None:
            return CollectError(problem.reason, f"{problem.subject}: {problem.message}")
        return CollectError(reason_of(hint), describe(hint))

    def _lack(self) -> CollectError | None:
        """Return why there is no token to log in with; None where there is one, or none is needed."""
        return None if self._tokens is None else self._tokens.fault()

    def _recent_hint(self) -> KafkaError | None:
        """Return what the connection complained of, while that can explain a failure."""
        return self._hint if time.monotonic() - self._hinted < HINT_VALID else None

    def _serve(self) -> None:
        """Let the client say what it has to say, if there is one."""
        with self._lock:
            admin = self._admin
        if admin is not None:
            admin.poll(0)

    def _on_line(self, line: str) -> None:
        """Take a line of librdkafka's log: some complaints are made nowhere else."""
        complaint = parse_complaint(line)
        if complaint is None:
            return
        self._unreached.hear(complaint)
        if complaint.closed_early():
            text = f"{complaint.address}: {complaint.text}"
            self._take_hint(KafkaError(KafkaError._TRANSPORT, text))

    def _on_error(self, error: KafkaError) -> None:
        complaint = parse_complaint(error.str())
        if complaint is not None:
            self._unreached.hear(complaint)
            if self._is_elsewhere(complaint):
                return
        self._take_hint(error)

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
    if inner is not None and NO_KERBEROS in inner.str():
        return KERBEROS_ADVICE
    text = harmless(inner.str()) if inner is not None else ""
    return f"librdkafka rejects the properties under `client`: {text}"


class _Forward(logging.Handler):
    """Hands librdkafka's log lines to structlog."""

    def __init__(self, source: str, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._log = structlog.get_logger("librdkafka").bind(source=source)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        # What matters is reported by the task that fails; these lines repeat it many times a second.
        line = record.getMessage()
        self._hear(line)
        self._log.debug("librdkafka.message", text=harmless(line))


def _librdkafka_logger(source: str, hear: Callable[[str], None]) -> logging.Logger:
    logger = logging.Logger(f"librdkafka.{source}", logging.INFO)  # noqa: LOG001 - not shared, so not leaked
    logger.addHandler(_Forward(source, hear))
    return logger


def _itself(result: T) -> T:
    return result
