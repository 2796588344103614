"""Replies of versions that do not run here, from their release notes and API references."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.collectors.rabbitmq.detailed import read_detailed, texts
from exporter.collectors.rabbitmq.queues import (
    QueueSelection,
    counts_of,
    left_out,
    listed,
    mean_size,
)
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.reply_rows import Rows
from exporter.model import CollectError, Depth, Place

QUORUM_313: dict[str, Any] = {
    # From 3.13 on, a reply has only the fields that `columns` names, and quorum queues have no
    # `exclusive`.
    "name": "q",
    "vhost": "/",
    "type": "quorum",
    "state": "running",
    "messages": 5,
    "messages_ready": 3,
    "messages_unacknowledged": 2,
}
CLASSIC_4: dict[str, Any] = {
    # 4.x marks an exclusive queue by its owner.
    "name": "mine",
    "vhost": "/",
    "type": "classic",
    "state": "running",
    "messages": 1,
    "messages_unacknowledged": 0,
    "owner_pid_details": {"name": "127.0.0.1:1 -> 127.0.0.1:5672"},
}


def selection(**more: Any) -> QueueSelection:
    return QueueSelection(RabbitSettings("s", ("http://r",), **more))


def test_a_list_with_the_named_fields_only() -> None:
    (queue,) = listed([QUORUM_313], selection())
    assert queue.depth[:3] == (Place("/", "q", None, None), 5, 2)


def test_an_exclusive_queue_is_told_by_its_owner_too() -> None:
    assert listed([CLASSIC_4], selection()) == []
    assert len(listed([CLASSIC_4], selection(internals=True))) == 1


@pytest.mark.parametrize("state", ["down", "crashed", "stopped", "minority"])
def test_a_queue_that_does_not_run_can_not_be_read(state: str) -> None:
    (queue,) = listed([{**QUORUM_313, "state": state, "messages": 0}], selection())
    assert queue.depth.lag is None


def test_a_queue_without_statistics_yet_has_no_counts() -> None:
    row = {"name": "q", "vhost": "/", "type": "classic"}
    assert counts_of(row, 0.0) is None
    counts = counts_of({**row, "messages": 0}, 0.0)
    assert counts is not None
    assert (counts.enqueued, counts.processed, counts.consumers) == (0, 0, None)


def test_counts_and_sizes_where_there_are_nulls() -> None:
    row = {**QUORUM_313, "message_stats": None, "head_message_timestamp": "", "message_bytes": None}
    counts = counts_of(row, 100.0)
    assert counts is not None
    assert counts.head_age is None
    assert mean_size(row) is None


def test_labels_of_the_plugins_page_escaped_or_not() -> None:
    names = {("/", 'a"b'), ("v\\", "c")}
    page = (
        b'rabbitmq_detailed_queue_messages_ready{vhost="/",queue="a"b"} 3\n'
        b'rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="a"b"} 1\n'
        b'rabbitmq_detailed_queue_messages_ready{vhost="v\\\\",queue="c"} 4e0\n'
        b'rabbitmq_detailed_queue_messages_unacked{vhost="v\\\\",queue="c"} 0\n'
        b'rabbitmq_detailed_queue_messages_ready{vhost="/",queue="half"} 9\n'
    )
    found = read_detailed("http://r", page, texts(names))
    assert found == {("/", 'a"b'): (3, 1, None), ("v\\", "c"): (4, 0, None)}


RETRIES_43 = {
    # 4.3.6: of 10 messages one is unacknowledged, and four wait for the end of their delay
    # (`messages_delayed`, which is not in the list with totals). 4.0.5 counts in the same way
    # messages that the dead-letter target has not confirmed (`messages_dlx`).
    "name": "retry",
    "vhost": "/",
    "type": "quorum",
    "state": "running",
    "messages": 10,
    "messages_ready": 5,
    "messages_unacknowledged": 1,
}


def test_what_a_quorum_queue_holds_back_is_deferred_and_no_lag() -> None:
    (queue,) = listed([RETRIES_43], selection())
    assert queue.depth == Depth(Place("/", "retry", None, None), 6, 1, 4, old=2.5)
    page = (
        b'rabbitmq_detailed_queue_messages_ready{vhost="/",queue="retry"} 5\n'
        b'rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="retry"} 1\n'
        b'rabbitmq_detailed_queue_messages{vhost="/",queue="retry"} 10\n'
    )
    found = read_detailed("http://r", page, texts([queue.name]))
    assert found[queue.name].on(queue.depth) == queue.depth
    other = found[queue.name]._replace(messages=None, ready=0)
    assert found[queue.name].or_more(other) == found[queue.name]


@pytest.mark.parametrize(("messages", "expected"), [(5, (5, 0)), (4, (4, 0)), (6, (5, 1))])
def test_numbers_that_do_not_fit_together_hold_nothing_back(
    messages: int, expected: tuple[int, int]
) -> None:
    (queue,) = listed([{**QUORUM_313, "messages": messages}], selection())
    assert (queue.depth.lag, queue.depth.deferred) == expected
    (classic,) = listed([{**QUORUM_313, "type": "classic"}], selection())
    assert (classic.depth.lag, classic.depth.deferred) == (5, None)


def test_another_page_is_not_taken_for_an_empty_one() -> None:
    with pytest.raises(CollectError):
        read_detailed("http://r", b"process_cpu_seconds_total 1\n", {})
    assert read_detailed("http://r", b"rabbitmq_build_info{} 1\n", {}) == {}


def test_a_queue_without_numbers_is_unreadable_and_one_that_is_down_is_not() -> None:
    numberless = {"name": "q", "vhost": "/", "type": "classic", "state": "running"}
    down = {**numberless, "name": "away"}
    reader = Rows()
    rows = [numberless, *left_out([numberless, down], {("/", "q")})]
    assert [queue.depth.lag for queue in listed(rows, selection(), reader)] == [None, None]
    assert reader.unreadable == 1
    (problem,) = reader.problems()
    assert problem.subject == "queue 'q' in vhost '/'"
    assert problem.message.startswith("the field messages is missing")
    stream = {**numberless, "name": "log", "type": "stream"}
    reader = Rows()
    assert [queue.depth.lag for queue in listed([stream], selection(), reader)] == [None]
    assert reader.unreadable == 0


def sizes(**parts: tuple[int, int]) -> dict[str, int]:
    """The fields of a row: the number and the bytes of each part of the queue."""
    return {
        f"{field}_{part}": number
        for part, numbers in parts.items()
        for field, number in zip(("messages", "message_bytes"), numbers, strict=True)
    }


@pytest.mark.parametrize(
    ("total", "parts", "mean"),
    [
        (90, {}, None),
        (680, sizes(persistent=(68, 680)), 10.0),  # a quorum queue
        (680, sizes(persistent=(68, 680), ram=(1, 10), paged_out=(0, 0)), 10.0),
        (300, sizes(persistent=(0, 0), ram=(1, 10), paged_out=(29, 290)), 10.0),
        (100, sizes(persistent=(1, 30), ram=(8, 100), paged_out=(0, 0)), 12.5),
        (100, sizes(persistent=(1, 30), ram=(1, 30), paged_out=(7, 70)), 12.5),
        # Neither all persistent, nor all in memory or paged out.
        (100, sizes(persistent=(1, 30), ram=(2, 40), paged_out=(3, 50)), None),
        (0, sizes(persistent=(0, 0), ram=(0, 0), paged_out=(0, 0)), None),
        (0, sizes(persistent=(3, 0), ram=(0, 0), paged_out=(0, 0)), 0.0),
    ],
)
def test_a_mean_size_is_of_one_moment(
    total: int, parts: dict[str, int], mean: float | None
) -> None:
    """`messages` is of another one."""
    row = {"name": "q", "vhost": "/", "type": "classic", "messages": 2, "message_bytes": total}
    assert mean_size({**row, **parts}) == mean
    assert mean_size({**row, **parts, "type": "stream"}) is None
