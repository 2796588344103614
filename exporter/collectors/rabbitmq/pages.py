"""The backlog by the Prometheus plugin's pages, each of which has the queues of one node."""

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

PAGE_OLD = 2.5
"""Seconds that the numbers of a page are old on average: the plugin takes them every 5 s."""


class Pages:
    """Reads the pages of all nodes, and follows which queues are on none of them."""

    def __init__(self, http: HttpClient, pool: Pool, urls: Sequence[str]) -> None:
        self._http = http
        self._pool = pool
        self._urls = urls
        self._missing: frozenset[Name] = frozenset()
        """Queues that the last look had to ask the management API for."""

    def read(
        self,
        known: Mapping[bytes, Name],
        deadline: Deadline,
        problems: list[Problem],
        reader: Rows,
    ) -> dict[Name, QueueDepth] | None:
        """Return what waits by queue; None, with a problem for each, where a page cannot be read."""
        answers = self._pool.all_at_once(
            {url: partial(self._page, url, known, deadline, reader) for url in self._urls}, deadline
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
        """Return the queues that should be on a page and are on none."""
        lacking = missing_of(queues, found)
        if not lacking:
            self._missing = frozenset()
        return lacking

    def told(self, missing: frozenset[Name], queues: Iterable[ListedQueue]) -> Problem | None:
        """Return what to say of queues that are `missing` and still listed; a new queue has time to the next look."""
        still = missing & missing_of(queues, {})
        lasting, self._missing = still & self._missing, still
        if not lasting:
            return None
        return Problem("partial", "prometheus_url", not_covered(sorted(lasting)))

    def _page(
        self, url: str, known: Mapping[bytes, Name], deadline: Deadline, reader: Rows
    ) -> dict[Name, QueueDepth]:
        page = self._http.get(f"{url}/metrics/detailed", deadline, {"family": FAMILY})
        return read_detailed(url, page, known, reader)


def missing_of(queues: Iterable[ListedQueue], found: Mapping[Name, QueueDepth]) -> frozenset[Name]:
    """Return the queues that have a number of messages and are on no page."""
    return frozenset(
        queue.name
        for queue in queues
        if not queue.stream and queue.depth.lag is not None and queue.name not in found
    )


def not_covered(names: Sequence[Name]) -> str:
    """Return what to say of queues that no page has."""
    return (
        f"{len(names)} queues of the management API are missing in the metrics of prometheus_url: "
        f"{listed_names(names)}; add the URL of every node to prometheus_url; until then, they are read from the "
        "management API"
    )


def merged(
    queues: Iterable[ListedQueue], found: Mapping[Name, QueueDepth], asked: Mapping[Name, Depth]
) -> list[Depth]:
    """Return each queue's depth: by a page, or else by the list of queues."""
    return [
        found[queue.name].on(queue.depth)._replace(old=PAGE_OLD)
        if queue.name in found
        else asked.get(queue.name, queue.depth._replace(lag=None))
        for queue in queues
        if not queue.stream
    ]
