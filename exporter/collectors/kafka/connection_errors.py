"""Connection errors by broker, parsed from librdkafka's log.

They are the only explanation of requests that got no answer.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

VALID = 30.0
"""Seconds for which an error of an address is valid; librdkafka repeats it at each retry."""
SHOWN = 5
"""Maximum number of addresses in a message."""

_LINE = re.compile(
    r"(?:\[thrd:[^\]]*\]: )?(?:\w+://)?(?P<address>\S+:\d+)/(?P<node>\d+|bootstrap): (?P<text>.*)",
    re.DOTALL,
)
_CONNECTING = (
    (re.compile(r"Failed to resolve '[^']*': (.*?)(?: \(after|$)"), "the name does not resolve"),
    (re.compile(r"Connect to .* failed: (.*?)(?: \(after|$)"), None),
    (re.compile(r"Connection setup timed out in state CONNECT"), "no connection in time"),
)
_CLOSED = re.compile(r"closed by peer.*(\(after \d{1,2}ms in state UP|in state APIVERSION_QUERY)")


class BrokerError(NamedTuple):
    """One error of one broker."""

    address: str
    """host:port."""
    node: int | None
    """The broker's id; None for a configured address that has not answered yet."""
    text: str

    def connect_failure(self) -> str | None:
        """Return why the connection failed; None if the error has another cause."""
        for pattern, meaning in _CONNECTING:
            found = pattern.search(self.text)
            if found is not None:
                return meaning if meaning is not None else found[1].lower()
        return None

    def closed_early(self) -> bool:
        """Return whether a configured address closed the connection without an answer."""
        return self.node is None and _CLOSED.search(self.text) is not None


def parse_broker_error(line: str) -> BrokerError | None:
    """Parse a line of librdkafka's log or an error text; None if it is not about a broker."""
    found = _LINE.search(line)
    if found is None:
        return None
    node = None if found["node"] == "bootstrap" else int(found["node"])
    return BrokerError(found["address"], node, found["text"])


class _ConnectFailure(NamedTuple):
    address: str
    why: str
    at: float


class UnreachableBrokers:
    """Brokers that cannot be reached at their advertised address. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: Mapping[int, _ConnectFailure] = {}
        self._silent: Mapping[int, _ConnectFailure] = {}

    def observe(self, broker_error: BrokerError) -> None:
        """Store a connection error; others are ignored."""
        why = broker_error.connect_failure()
        if broker_error.node is not None and why is not None:
            noted = _ConnectFailure(broker_error.address, why, self._clock())
            self._found = {**self._found, broker_error.node: noted}

    def silent(self, nodes: Mapping[int, str]) -> None:
        """Store which brokers did not answer in time: id to address."""
        now = self._clock()
        noted = {node: _ConnectFailure(a, "no response in time", now) for node, a in nodes.items()}
        self._silent = {**self._silent, **noted}

    def answered(self, nodes: Collection[int]) -> None:
        """Forget the errors of brokers that have answered."""
        self._found = _without(self._found, nodes)
        self._silent = _without(self._silent, nodes)

    def nodes(self) -> Mapping[int, str]:
        """Return broker id to address and cause, such as `kafka-2:9092 (connection refused)`."""
        return self._texts(self._found)

    def message(self, configured: Collection[str]) -> str | None:
        """Describe unreachable advertised addresses, and brokers that did not answer.

        None if no address is known to be unreachable besides `configured` ones.
        """
        known, since = self._found, self._clock() - VALID
        if all(each.address in configured or each.at < since for each in known.values()):
            return None
        return (
            f"the brokers advertise addresses that cannot be reached: {self._listed()}; see "
            "advertised.listeners of these brokers, and whether they run"
        )

    def down_message(self) -> str | None:
        """Describe all unreachable brokers; None if there are none."""
        return f"cannot be reached: {self._listed()}; check that they run" if self.nodes() else None

    def _listed(self) -> str:
        found = {**self._texts(self._silent), **self.nodes()}
        names = [text for _, text in sorted(found.items())]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(names[:SHOWN]) + more

    def _texts(self, failures: Mapping[int, _ConnectFailure]) -> Mapping[int, str]:
        since = self._clock() - VALID
        return {
            node: f"{each.address} ({each.why})"
            for node, each in sorted(failures.items())
            if each.at >= since
        }


def _without(
    failures: Mapping[int, _ConnectFailure], nodes: Collection[int]
) -> Mapping[int, _ConnectFailure]:
    if failures.keys().isdisjoint(nodes):
        return failures
    return {node: each for node, each in failures.items() if node not in nodes}


class Throttling:
    """The last delay of the exporter's requests by a broker quota. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = (-math.inf, 0.0)

    def observe(self, seconds: float) -> None:
        """Store the delay of one response, in seconds."""
        if seconds > 0:
            self._last = (self._clock(), seconds)

    def message(self) -> str | None:
        """Describe the last delay; None if there was none in the last `VALID` seconds."""
        at, seconds = self._last
        if self._clock() - at > VALID:
            return None
        return (
            f"a quota of the brokers delays the exporter's requests, the last one by {seconds:.3g} "
            "s; raise request_percentage for its user or client id, or set a longer "
            "schedule.backlog and deadline"
        )


def bootstrap_addresses(servers: str) -> frozenset[str]:
    """Return host:port of each address in `bootstrap.servers`."""
    found = (each.strip().rpartition("://")[2] for each in servers.split(","))
    return frozenset(
        each if re.search(r":\d+$", each) else f"{each}:9092" for each in found if each
    )
