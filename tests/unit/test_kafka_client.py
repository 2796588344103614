"""Requests that the client library refuses fail alone; its connection errors are understood."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from exporter.collectors.kafka.client import MIN_REQUEST_SECONDS, KafkaClient
from exporter.collectors.kafka.connection_errors import (
    VALID,
    Throttling,
    UnreachableBrokers,
    bootstrap_addresses,
    parse_broker_error,
)
from exporter.collectors.kafka.errors import RefusedError, describe, describe_right, problem
from exporter.collectors.kafka.unsupported_group_ids import (
    SURE_AFTER,
    UnsupportedGroupIds,
    hidden_kind,
)
from exporter.model import Until


def client() -> KafkaClient:
    return KafkaClient("s", dict)


def refusing(calls: list[list[str]], *bad: str, error: Exception | None = None) -> Any:
    """A call that the library refuses if it contains one of the `bad` items."""

    def call(parts: list[str]) -> Mapping[str, Future[str]]:
        calls.append(parts)
        if set(bad) & set(parts):
            raise error or ValueError("embedded null character")
        done: dict[str, Future[str]] = {}
        for part in parts:
            done[part] = Future()
            done[part].set_result(part.upper())
        return done

    return call


def outcomes(found: list[tuple[str, Future[str]]]) -> dict[str, str]:
    told = {}
    for part, future in found:
        try:
            told[part] = client().wait(future, 0.0)
        except KafkaException as error:
            told[part] = str(problem(part, error).reason)
    return told


@pytest.mark.parametrize("size", [1, 2, 7, 500])
def test_a_refused_item_is_isolated_and_the_others_are_requested(size: int) -> None:
    items = [f"p{number}" for number in range(size)]
    calls: list[list[str]] = []
    found = client().ask(items, refusing(calls, "p0"))
    assert [item for item, _ in found] == items, "in their order"
    told = outcomes(found)
    assert told.pop("p0") == "invalid"
    assert told == {item: item.upper() for item in items[1:]}
    assert len(calls) <= 2 * size.bit_length() + 1, "by halves, not one by one"


def test_a_call_that_is_refused_as_such_is_not_repeated() -> None:
    calls: list[list[str]] = []
    fault = KafkaException(KafkaError(KafkaError._QUEUE_FULL))
    found = client().ask(["a", "b", "c"], refusing(calls, "a", error=fault))
    assert len(calls) == 1
    assert [item for item, _ in found] == ["a", "b", "c"]
    assert set(outcomes(found)) == {"a", "b", "c"}


def test_no_items_are_no_call() -> None:
    assert client().ask([], refusing([])) == []


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), UnicodeError("x")])
def test_whatever_an_answer_raises_is_one_kind_of_error(error: Exception) -> None:
    future: Future[str] = Future()
    future.set_exception(error)
    with pytest.raises(RefusedError, match=type(error).__name__):
        client().wait(future, 0.0)
    found = problem("group g", RefusedError(error))
    assert (found.reason, found.subject) == ("invalid", "group g")


def test_an_answer_that_cannot_be_converted_is_one_failure() -> None:
    future: Future[Any] = Future()
    future.set_result(None)
    with pytest.raises(RefusedError):
        client().read(future, 0.0, lambda result: result.members)


def test_a_request_has_a_minimum_timeout() -> None:
    assert client().request_seconds(Until(-5)) == MIN_REQUEST_SECONDS
    assert 59 < client().request_seconds(Until(60)) <= 60


RESOLVE = (
    "sasl_ssl://kafka-3.invalid:9092/2: Failed to resolve 'kafka-3.invalid:9092': "
    "Name or service not known (after 1ms in state CONNECT)"
)
REFUSED = (
    "127.0.0.1:54297/1: Connect to ipv4#127.0.0.1:54297 failed: Connection refused (after 0ms in "
    "state CONNECT)"
)
SILENT = (
    "[thrd:ssl://10.0.0.1:9092/7]: ssl://10.0.0.1:9092/7: Connection setup timed out in state "
    "CONNECT (after 5021ms in state CONNECT)"
)
UP = (
    "kafka-1:9092/0: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in "
    "state UP)"
)


class Clock:
    """A clock that does not advance."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def unreachable(*lines: str) -> tuple[UnreachableBrokers, Clock]:
    clock = Clock()
    found = UnreachableBrokers(clock)
    for line in lines:
        broker_error = parse_broker_error(line)
        assert broker_error is not None
        found.observe(broker_error)
    return found, clock


def test_the_cause_of_a_failed_connection() -> None:
    found, _ = unreachable(RESOLVE, REFUSED, SILENT, UP)
    assert found.nodes() == {
        1: "127.0.0.1:54297 (connection refused)",
        2: "kafka-3.invalid:9092 (the name does not resolve)",
        7: "10.0.0.1:9092 (no connection in time)",
    }
    message = found.message(())
    assert message is not None
    assert "kafka-3.invalid:9092 (the name does not resolve)" in message
    assert "advertised.listeners" in message


def test_a_configured_address_that_is_down_is_not_reported_as_advertised() -> None:
    found, _ = unreachable(REFUSED)
    configured = bootstrap_addresses("PLAINTEXT://127.0.0.1:54297, kafka-1")
    assert configured == {"127.0.0.1:54297", "kafka-1:9092"}
    assert found.message(configured) is None
    assert found.down_message() == (
        "cannot be reached: 127.0.0.1:54297 (connection refused); check that they run"
    )


def test_a_broker_that_answers_is_no_longer_reported() -> None:
    found, clock = unreachable(RESOLVE, REFUSED)
    found.answered([1])
    assert list(found.nodes()) == [2]
    clock.now += VALID + 1
    assert found.nodes() == {}
    assert found.message(()) is None


def test_a_broker_that_does_not_answer_is_named_beside_an_unreachable_one() -> None:
    found, _ = unreachable()
    found.silent({3: "kafka-3:9092", 4: "kafka-4:9092"})
    assert found.message(()) is None, "it may be reachable"
    found, _ = unreachable(REFUSED)
    found.silent({3: "kafka-3:9092", 4: "kafka-4:9092"})
    found.answered([4])
    message = found.message(())
    assert message is not None
    assert "54297 (connection refused), kafka-3:9092 (no response in time);" in message
    assert list(found.nodes()) == [1]


def test_a_quota_is_reported_while_it_delays_requests() -> None:
    clock = Clock()
    throttling = Throttling(clock)
    assert throttling.message() is None
    throttling.observe(0.0)
    assert throttling.message() is None
    throttling.observe(1.0)
    message = throttling.message()
    assert message is not None
    assert "delays the exporter's requests, the last one by 1 s" in message
    assert "request_percentage" in message
    clock.now += VALID + 1
    assert throttling.message() is None


def test_lines_that_are_not_about_a_broker() -> None:
    assert parse_broker_error("3/3 brokers are down") is None
    assert parse_broker_error("[thrd:main]: Topic orders [2]: leader is down") is None


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        (
            (
                "h:1/bootstrap: Disconnected: connection closed by peer: receive 0 (after 5ms in "
                "state APIVERSION_QUERY)"
            ),
            True,
        ),
        (
            (
                "h:1/bootstrap: Disconnected: connection closed by peer: receive 0 (after 0ms in "
                "state UP)"
            ),
            True,
        ),
        (
            (
                "h:1/bootstrap: Disconnected: connection closed by peer: receive 0 (after 5310ms "
                "in state UP)"
            ),
            False,
        ),
        (
            "h:1/3: Disconnected: connection closed by peer: receive 0 (after 0ms in state UP)",
            False,
        ),
        ("h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused", False),
    ],
)
def test_a_listener_that_closes_at_once_differs_from_a_broker_that_stops(
    text: str, closes: bool
) -> None:
    broker_error = parse_broker_error(text)
    assert broker_error is not None
    assert broker_error.closed_early() is closes


def test_rights_are_advised_only_if_rights_are_missing() -> None:
    denied = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    late = KafkaError(KafkaError._TIMED_OUT)
    right = "give the user Describe on the groups"
    assert describe_right(denied, right).endswith(right)
    assert "give the user" not in describe_right(late, right)
    assert "give the user" not in describe(late)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("billing", None),
        ("\ufffd", None),
        ("x" * 32_767, None),
        ("", "empty_id"),
        ("\0abc", "empty_id"),
        ("ab\0cd", "unreadable_id"),
        ("\ud800", "unreadable_id"),
        ("x" * 32_768, "unreadable_id"),
        ("ü" * 16_384, "unreadable_id"),
    ],
)
def test_group_ids_that_the_library_does_not_support(name: str, kind: str | None) -> None:
    assert hidden_kind(name) == kind


def test_an_id_that_is_listed_twice_repeatedly_is_two_groups() -> None:
    shown = UnsupportedGroupIds("s")
    for _ in range(SURE_AFTER - 1):
        assert shown.count({}, ["ab"]) == {}
    assert shown.count({"empty_id": 2}, ["ab"]) == {"empty_id": 2, "unreadable_id": 1}
    assert shown.count({}, []) == {}, "a coordinator had moved"
    assert shown.count({}, ["ab"]) == {}


@pytest.mark.parametrize(
    "aside",
    ["(after 0ms in state CONNECT)", "(after 12ms in state UP, 3 identical error(s) suppressed)"],
)
def test_errors_do_not_repeat_what_only_librdkafka_needs(aside: str) -> None:
    text = f"h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused {aside}"
    said = describe(KafkaError(KafkaError._TRANSPORT, text), "check the port")
    assert said == (
        "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused; check the port"
    )
