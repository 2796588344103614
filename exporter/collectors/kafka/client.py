"""The connection to one cluster: an admin client, replaced from time to time, and its errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from exporter.collectors.kafka.client_factory import configuration_fault, make_client
from exporter.collectors.kafka.diagnosis import Diagnosis
from exporter.collectors.kafka.disposal import Client, dispose
from exporter.collectors.kafka.errors import RefusedError, is_argument_error
from exporter.collectors.kafka.librdkafka_log import librdkafka_logger
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
    # A broker that accepts and never answers must fail within a cycle, not after the default
    # minute.
    "socket.timeout.ms": "10000",
    "socket.connection.setup.timeout.ms": "5000",
    # A broker that is back must be found within an interval.
    "reconnect.backoff.ms": "100",
    "reconnect.backoff.max.ms": "2000",
    "retry.backoff.ms": "100",
    "allow.auto.create.topics": "false",
    "enable.metrics.push": "false",
    # A listener with another protocol closes connections, which is only visible in the log.
    "log.connection.close": "true",
}
OF_ADMIN: Mapping[str, str] = {
    # While a request waits for a broker that refuses connections, librdkafka 2.16 connects again
    # thousands of times a second if connections are sparse: RD_KAFKA_OP_CONNECT resets the backoff.
    "enable.sparse.connections": "false",
}
"""Properties of admin clients, which ask every broker anyway."""
MAX_AGE = 6 * 3600.0
"""Seconds after which the client is replaced.

librdkafka keeps a handle for every topic that it has ever seen.
"""
MAX_NAMES_SEEN = 10_000
"""Distinct topics and groups, besides the existing ones, after which it is replaced earlier."""
OUTLIVE_SECONDS = 60.0
"""Seconds by which a request to a group coordinator outlives the task's deadline.

A request that times out inside librdkafka can abort the process when its coordinator answers later
(librdkafka#4605). So the task stops waiting first, and drops the client together with the request.
"""
GRACE = 1.0
"""Seconds that librdkafka may be late in reporting a timeout."""
MIN_REQUEST_SECONDS = 1.0
"""Minimum seconds that librdkafka gets for a request.

librdkafka 2.16 uses a request after freeing it if it times out during its setup:
rd_kafka_topic_partition_list_query_leaders_async starts the timer and continues the request in
another thread. That corrupts the heap ("double free or corruption").
"""


class KafkaClient:
    """Calls one cluster's admin client with deadlines, and turns its errors into clear ones."""

    def __init__(
        self,
        source: str,
        properties: Callable[[], Mapping[str, Any]],
        hazards: Hazards | None = None,
    ) -> None:
        self.hazards = hazards or Hazards()
        """Requests that may crash the library."""
        self._source = source
        self._properties = properties
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._retired: AdminClient | None = None
        """The previous client, kept because garbage collection would cancel its pending calls."""
        self._made_at = 0.0
        self._generation = object()
        """A new object for each generation of secrets. Errors of older clients are ignored."""
        self._generation_before = self._generation
        self._tokens: Tokens | None = None
        self._diagnosis = Diagnosis(source)
        self._log = structlog.get_logger(__name__).bind(source=source)

    def properties(self) -> dict[str, Any]:
        """Return the current librdkafka properties; secrets are read again.

        Raises `CollectError` if a secret file is unreadable or no token is available.
        """
        try:
            given = self._properties()
        except SecretFileError as error:
            raise CollectError("invalid", str(error)) from None
        self._diagnosis.configured(given.get("bootstrap.servers", ""))
        tokens = given.get(CALLBACK)
        self._tokens = tokens if isinstance(tokens, Tokens) else None
        generation = self._generation

        def on_error(error: KafkaError) -> None:
            if generation is self._generation:
                self._diagnosis.add_error(error)

        return {
            **DEFAULTS,
            **given,
            "error_cb": on_error,
            "throttle_cb": lambda event: self._diagnosis.add_throttling(event.throttle_time),
            "logger": librdkafka_logger(self._source, self._diagnosis.add_log_line),
        }

    @property
    def admin(self) -> AdminClient:
        """The admin client, made at first use."""
        with self._lock:
            if self._admin is None:
                self._admin = self._new_admin()
                self._made_at = time.monotonic()
            admin = self._admin
        # Runs pending callbacks: errors and token refreshes.
        admin.poll(0)
        return admin

    def _new_admin(self) -> AdminClient:
        """Return a client with the current secrets; the previous client if that fails."""
        try:
            return make_client(lambda given: AdminClient({**OF_ADMIN, **given}), self.properties)
        except KafkaException as error:
            fault = self._token_fault() or CollectError("invalid", configuration_fault(error))
        except CollectError as error:
            fault = error
        if self._retired is None:
            raise fault
        self._generation = self._generation_before
        self._log.warning("client.secrets_unusable", error=str(fault))
        return self._retired

    def renew_if_due(self, names_seen: int) -> bool:
        """Replace the client if it is old or has seen too many names.

        Return whether it was replaced. Pending calls finish on the old client.
        """
        with self._lock:
            if self._admin is None:
                return False
            age = time.monotonic() - self._made_at
            if age < MAX_AGE and names_seen < MAX_NAMES_SEEN:
                return False
            self._retire()
        self._log.info("client.renewed", age_seconds=round(age), names_seen=names_seen)
        return True

    def renew(self) -> None:
        """Replace the client at its next use; pending calls finish on the old one."""
        with self._lock:
            self._generation, self._generation_before = object(), self._generation
            self._diagnosis.forget_error()
            self._retire()

    def forget_coordinators(self) -> None:
        """Replace the client at its next use, because it caches group coordinators."""
        with self._lock:
            self._retire()

    def _retire(self) -> None:
        """Let pending calls finish, and make a new client at the next use.

        The lock must be held.
        """
        if self._admin is not None:
            clients: list[Client | None] = [self._retired]
            self._retired, self._admin = self._admin, None
            dispose(clients)

    def drop_retired(self) -> None:
        """Drop the previous client: no call is pending. It would reconnect with old secrets."""
        with self._lock:
            if self._admin is None:
                return
            clients: list[Client | None] = [self._retired]
            self._retired = None
        dispose(clients)

    def drop_after(self, problems: Iterable[Problem]) -> None:
        """Drop the client if an answer did not arrive in time."""
        # librdkafka keeps asking a group's old coordinator (librdkafka#3847). A request without an
        # answer can abort the process later (librdkafka#4605). A new client has neither problem.
        if any(problem.reason in ("timeout", "unreachable") for problem in problems):
            self.drop()

    def drop(self) -> None:
        """Drop the client; the next call connects again and reads the secrets again."""
        with self._lock:
            clients: list[Client | None] = [self._admin, self._retired]
            self._admin = self._retired = None
        dispose(clients)

    def metadata(self, deadline: Deadline, attempt: float) -> ClusterMetadata:
        """Return brokers and topics. Retries while time is left: one attempt asks one broker only.

        Raises `CollectError` if no broker answers. The client is dropped then, so that the next one
        reads the current secrets and certificates.
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
                self._diagnosis.forget_error()
                return found

    def request_seconds(self, deadline: Deadline) -> float:
        """Return a request's timeout: the remaining time, but at least `MIN_REQUEST_SECONDS`."""
        return max(deadline.remaining(), MIN_REQUEST_SECONDS)

    def ask(
        self, items: Sequence[K], call: Callable[[list[K]], Mapping[Any, Future[T]]]
    ) -> list[tuple[K, Future[T]]]:
        """Make one call for all items, and return the future of each.

        If the library refuses the call, it is repeated with halves of the items until the refused
        item is alone. Its future fails. `call` returns futures in the order of its items.
        """
        if not items:
            return []
        try:
            return list(zip(items, call(list(items)).values(), strict=True))
        except CollectError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the library raises concerns these items only
            if len(items) == 1 or not is_argument_error(error):
                failed: Future[T] = Future()
                failed.set_exception(error)
                return [(item, failed) for item in items]
        half = len(items) // 2
        return [*self.ask(items[:half], call), *self.ask(items[half:], call)]

    def wait(self, future: Future[T], timeout: float, grace: float = GRACE) -> T:
        """Return the future's result. Raises `KafkaException` on failure and on timeout."""
        return self.read(future, timeout, _itself, grace)

    def read(
        self, future: Future[T], timeout: float, convert: Callable[[T], U], grace: float = GRACE
    ) -> U:
        """Return the future's result after `convert`.

        Raises as `wait` does, also if `convert` fails.
        """
        try:
            return convert(future.result(timeout + grace))
        except FutureTimeoutError:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
        except KafkaException:
            raise
        except Exception as error:
            raise RefusedError(error) from error

    def answered(self, brokers: Collection[int]) -> None:
        """Note that these brokers answered, so they are reachable."""
        self._diagnosis.answered(brokers)

    def silent(self, brokers: Mapping[int, str]) -> None:
        """Note that these brokers did not answer in time: id to address."""
        self._diagnosis.silent(brokers)

    def unreachable_nodes(self) -> Mapping[int, str]:
        """Return unreachable brokers: id to address and cause."""
        self._poll()
        return self._diagnosis.unreachable_nodes()

    def explain(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return the common cause of problems if known: unreachable addresses or a quota."""
        self._poll()
        return self._diagnosis.explain(problems)

    def unreachable_message(self) -> str | None:
        """Describe unreachable advertised addresses; None if there are none."""
        self._poll()
        return self._diagnosis.unreachable_message()

    def fault(self, error: BaseException) -> CollectError:
        """Turn an exception of the client into the failure of a task."""
        self.admin.poll(0)
        self._poll()  # the first poll may only have freed space for the errors that explain it
        return self._diagnosis.fault(error, self._token_fault())

    def unanswered(self, problem: Problem) -> CollectError:
        """Turn the lack of any answer into the failure of a task, and drop the client."""
        self._poll()
        fault = self._diagnosis.unanswered(problem, self._token_fault())
        self.drop()
        return fault

    def _token_fault(self) -> CollectError | None:
        """Return why no login token is available; None if there is one or none is needed."""
        return None if self._tokens is None else self._tokens.fault()

    def _poll(self) -> None:
        """Run pending callbacks of the client, if there is one."""
        with self._lock:
            admin = self._admin
        if admin is not None:
            admin.poll(0)


def _itself(result: T) -> T:
    return result
