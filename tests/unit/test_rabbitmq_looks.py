"""One poll of a RabbitMQ collector, with made-up replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from exporter.collectors.rabbitmq.collector import RabbitCollector
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import CollectError, Until

PAGE = b"".join(
    b'rabbitmq_detailed_queue_messages_%s{vhost="/",queue="q"} 1\n' % name
    for name in (b"ready", b"unacked")
)


def row(name: str, kind: str) -> dict[str, Any]:
    numbers = {"messages": 1, "messages_ready": 1, "messages_unacknowledged": 0}
    return {"name": name, "vhost": "/", "type": kind, "state": "running", **numbers}


class Replies:
    """The management API and the metrics of the Prometheus plugin."""

    def __init__(self) -> None:
        self.queues = [row("q", "classic")]
        self.fault: CollectError | None = None
        self.meanwhile: Callable[[], object] = bool
        """What happens while the nodes are read."""

    def get_json(self, url: str, deadline: object, params: Mapping[str, str]) -> Any:
        if self.fault is not None:
            raise self.fault
        if url.endswith("/api/queues"):
            return list(self.queues)
        if url.endswith("/api/nodes"):
            self.meanwhile()
            return [{"name": "n", "running": True}]
        return []

    def get(self, url: str, deadline: object, params: Mapping[str, str]) -> bytes:
        return PAGE


def collector(replies: Replies, monkeypatch: pytest.MonkeyPatch, **more: Any) -> RabbitCollector:
    made = RabbitCollector(RabbitSettings("s", ("http://r",), probe=False, **more))
    monkeypatch.setattr(made._http, "get_json", replies.get_json)
    monkeypatch.setattr(made._http, "get", replies.get)
    return made


def test_a_stream_that_is_listed_in_the_middle_of_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `prometheus_url`, `rates` lists the queues while `backlog` reads the metrics."""
    replies = Replies()
    made = collector(replies, monkeypatch, prometheus=("http://p",))
    made.backlog(Until(5))

    def meanwhile() -> None:
        replies.meanwhile = bool
        replies.queues.append(row("s", "stream"))
        made.rates(Until(5))

    replies.meanwhile = meanwhile
    assert made.backlog(Until(5)).destinations == {("/", "q", None)}
    assert made.backlog(Until(5)).destinations == {("/", "q", None), ("/", "s", None)}


def test_a_look_that_failed_is_not_repeated_before_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refused login may lock the account; other tasks' answers also make a task due early."""
    replies = Replies()
    made = collector(replies, monkeypatch)
    made.backlog(Until(5))
    assert made.due_early("backlog")
    replies.fault = CollectError("unauthorized", "401")
    with pytest.raises(CollectError):
        made.backlog(Until(5))
    assert not made.due_early("backlog")


def test_a_queue_without_numbers_is_told_at_each_look_at_the_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No node's metrics have it either."""
    replies = Replies()
    replies.queues.append({**row("odd", "quorum"), "messages": None})
    made = collector(replies, monkeypatch, prometheus=("http://p",))
    for _ in range(3):
        look = made.backlog(Until(5))
        assert [(each.reason, each.subject) for each in look.problems] == [
            ("invalid", "queue 'odd' in vhost '/'")
        ]
        assert look.unreadable == 1
        assert {depth.place.destination: depth.lag for depth in look.depths}["odd"] is None
    replies.queues[1] = row("odd", "quorum") | {"state": "down"}
    made.rates(Until(5))
    assert made.backlog(Until(5)).problems == [], "one that is down is not unreadable"
