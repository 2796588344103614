"""Reads the backlog from the Prometheus plugin of each node.

The plugin of a node has only the queues of that node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from exporter.collectors.http import HttpClient
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.counting import listed_names
from exporter.collectors.rabbitmq.detailed import FAMILY, QueueDepth, read_detailed
from exporter.collectors.rabbitmq.queues import ListedQueue, Name
from exporter.collectors.reply_rows import Rows
from exporter.model import CollectError, Deadline, Depth, Problem

PLUGIN_OLD = 2.5
"""Average age of the numbers in seconds: the plugin takes them every 5 s."""


class PluginBacklog:
    """Reads the Prometheus plugin of all nodes, and notices queues that none of them has."""

    def __init__(self, http: HttpClient, pool: Pool, urls: Sequence[str]) -> None:
        self._http = http
        self._pool = pool
        self._urls = urls
        self._missing: frozenset[Name] = frozenset()
        """Queues for which the management API had to be asked in the last run."""

    def read(
        self,
        known: Mapping[bytes, Name],
        deadline: Deadline,
        problems: list[Problem],
        reader: Rows,
    ) -> dict[Name, QueueDepth] | None:
        """Return the backlog by queue. If a node cannot be read, add a problem and return None."""
        answers = self._pool.all_at_once(
            {url: partial(self._read_node, url, known, deadline, reader) for url in self._urls},
            deadline,
        )
        found: dict[Name, QueueDepth] = {}
        failed = False
        for url, answer in answers.items():
            if isinstance(answer, CollectError):
                failed = True
                text = f"{answer}; asked the management API instead"
                problems.append(Problem(answer.reason, url, text))
                continue
            for name, waiting in answer.items():
                before = found.get(name)
                found[name] = waiting if before is None else waiting.or_more(before)
        return None if failed else found

    def missing(
        self, queues: Iterable[ListedQueue], found: Mapping[Name, QueueDepth]
    ) -> frozenset[Name]:
        """Return the queues that should be in an exposition and are in none."""
        lacking = missing_of(queues, found)
        if not lacking:
            self._missing = frozenset()
        return lacking

    def problem_of(self, missing: frozenset[Name], queues: Iterable[ListedQueue]) -> Problem | None:
        """Return a problem for queues that are `missing` and still listed.

        A queue is reported only if it was already missing in the last run, so that new queues are
        not.
        """
        still = missing & missing_of(queues, {})
        lasting, self._missing = still & self._missing, still
        if not lasting:
            return None
        return Problem("partial", "prometheus_url", not_covered(sorted(lasting)))

    def _read_node(
        self, url: str, known: Mapping[bytes, Name], deadline: Deadline, reader: Rows
    ) -> dict[Name, QueueDepth]:
        exposition = self._http.get(f"{url}/metrics/detailed", deadline, {"family": FAMILY})
        return read_detailed(url, exposition, known, reader)


def missing_of(queues: Iterable[ListedQueue], found: Mapping[Name, QueueDepth]) -> frozenset[Name]:
    """Return the queues that have a number of messages and are in no exposition."""
    return frozenset(
        queue.name
        for queue in queues
        if not queue.stream and queue.depth.lag is not None and queue.name not in found
    )


def not_covered(names: Sequence[Name]) -> str:
    """Return the message about queues that are in no exposition."""
    return (
        f"{len(names)} queues of the management API are missing in the metrics of prometheus_url: "
        f"{listed_names(names)}; add the URL of every node to prometheus_url; until then, they are "
        f"read from the "
        "management API"
    )


def merged(
    queues: Iterable[ListedQueue], found: Mapping[Name, QueueDepth], asked: Mapping[Name, Depth]
) -> list[Depth]:
    """Return each queue's depth from an exposition, or else from the list of queues."""
    return [
        found[queue.name].on(queue.depth)._replace(old=PLUGIN_OLD)
        if queue.name in found
        else asked.get(queue.name, queue.depth._replace(lag=None))
        for queue in queues
        if not queue.stream
    ]
