"""The connection to one cluster: an admin client that is replaced now and then, and the errors that it reported."""

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

from exporter.collectors.kafka.client_making import configuration_fault, made
from exporter.collectors.kafka.diagnosis import Diagnosis
from exporter.collectors.kafka.errors import RefusedError, is_part
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
        self._tokens: Tokens | None = None
        self._diagnosis = Diagnosis(source)
        self._log = structlog.get_logger(__name__).bind(source=source)

    def properties(self) -> dict[str, Any]:
        """Return the librdkafka properties in force, secrets read anew.

        Raises `CollectError` where a secret's file can't be read, or no token can be had.
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
                self._diagnosis.hear_error(error)

        return {
            **DEFAULTS,
            **given,
            "error_cb": on_error,
            "throttle_cb": lambda event: self._diagnosis.hear_throttling(event.throttle_time),
            "logger": librdkafka_logger(self._source, self._diagnosis.hear_line),
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
            fault = self._lack() or CollectError("invalid", configuration_fault(error))
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
            self._retire()
        self._log.info("client.renewed", age_seconds=round(age), names_seen=names_seen)
        return True

    def renew(self) -> None:
        """Replace the client at its next use; calls under way end with the old one."""
        with self._lock:
            self._generation, self._generation_before = object(), self._generation
            self._diagnosis.forget_error()
            self._retire()

    def forget_coordinators(self) -> None:
        """Replace the client at its next use, since it remembers where the coordinators of groups were."""
        with self._lock:
            self._retire()

    def _retire(self) -> None:
        """Let calls under way end with the client, and the next use make another one. Holds the lock."""
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
                self._diagnosis.forget_error()
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
        self._diagnosis.answered(brokers)

    def unreached_nodes(self) -> Mapping[int, str]:
        """Return the ids of brokers that cannot be connected to, and where and why."""
        self._serve()
        return self._diagnosis.unreached_nodes()

    def explain(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """Return the cause of problems, where it is known: addresses that lead nowhere, or a quota."""
        self._serve()
        return self._diagnosis.explain(problems)

    def unreached_message(self) -> str | None:
        """Say which advertised addresses cannot be reached; None where that is not what is wrong."""
        self._serve()
        return self._diagnosis.unreached_message()

    def fault(self, error: BaseException) -> CollectError:
        """Turn an exception of the client into the failure of a task."""
        self.admin.poll(0)
        self._serve()  # the first may only have made room for what explains it
        return self._diagnosis.fault(error, self._lack())

    def unreached(self, problem: Problem) -> CollectError:
        """Turn what no broker answered into the failure of a task, and let go of the client."""
        self._serve()
        fault = self._diagnosis.unanswered(problem, self._lack())
        self.drop()
        return fault

    def _lack(self) -> CollectError | None:
        """Return why there is no token to log in with; None where there is one, or none is needed."""
        return None if self._tokens is None else self._tokens.fault()

    def _serve(self) -> None:
        """Let the client say what it has to say, if there is one."""
        with self._lock:
            admin = self._admin
        if admin is not None:
            admin.poll(0)


def _itself(result: T) -> T:
    return result
