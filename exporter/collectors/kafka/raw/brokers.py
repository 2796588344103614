"""Connections to all brokers of a cluster, which are asked in parallel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.security import Security, security_of
from exporter.collectors.parallel import Pool
from exporter.model import CollectError, Deadline

T = TypeVar("T")

REST = 30.0
"""Seconds for which a broker without an answer is not asked again, because waiting costs time."""


class Brokers:
    """Keeps one connection per broker, made at the first request and again after a failure."""

    def __init__(self, properties: Callable[[], Mapping[str, object]]) -> None:
        """`properties` are librdkafka's, read for each new connection.

        It may raise `CollectError`.
        """
        self._properties = properties
        self._connections: dict[str, BrokerConnection] = {}
        self._resting: dict[str, tuple[float, CollectError]] = {}
        self._lock = threading.Lock()
        self._pool = Pool()

    def ask(
        self, questions: Mapping[str, Callable[[BrokerConnection], T]], deadline: Deadline
    ) -> dict[str, T | CollectError]:
        """Ask brokers by address; return each broker's answer or error."""
        now = time.monotonic()
        resting = {
            address: error
            for address, (until, error) in list(self._resting.items())
            if address in questions and now < until
        }
        calls = {
            address: self._call(address, question, deadline)
            for address, question in questions.items()
            if address not in resting
        }
        answers: dict[str, T | CollectError] = {
            **resting,
            **self._pool.all_at_once(calls, deadline),
        }
        for address in calls:
            answer = answers[address]
            if isinstance(answer, CollectError):
                self._resting[address] = (time.monotonic() + REST, answer)
            else:
                self._resting.pop(address, None)
        return answers

    def keep(self, addresses: Iterable[str]) -> None:
        """Close connections to brokers that no longer belong to the cluster."""
        known = set(addresses)
        for address in [address for address in self._connections if address not in known]:
            self._drop(address)

    def renew(self) -> None:
        """Ask all brokers again, with the current secrets. Working connections are kept."""
        self._resting.clear()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        self.keep(())

    def _call(
        self, address: str, question: Callable[[BrokerConnection], T], deadline: Deadline
    ) -> Callable[[], T]:
        def call() -> T:
            kept = self._connections.get(address)
            if kept is not None:
                try:
                    return question(kept)
                except CollectError as error:
                    self._drop(address)
                    # The broker may have closed an idle connection, or restarted: that is no
                    # failure yet.
                    if error.reason != "unreachable":
                        raise
            connection = BrokerConnection(address, self._security(), deadline)
            with self._lock:
                self._connections[address] = connection
            try:
                return question(connection)
            except CollectError:
                self._drop(address)
                raise

        return call

    def _security(self) -> Security:
        return security_of(self._properties())

    def _drop(self, address: str) -> None:
        with self._lock:
            connection = self._connections.pop(address, None)
        if connection is not None:
            connection.close()
