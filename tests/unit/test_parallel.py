"""Requests to several servers at the same time, some of which never answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from exporter.collectors.parallel import THREADS, FairPool, Pool
from exporter.model import CollectError, Until
from testbed.waiting import wait_until

Call = Callable[[], str]


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def waits(over: threading.Event, asked: list[str], name: str) -> str:
    asked.append(name)
    over.wait()
    return name


def test_many_calls_that_do_not_end_are_given_up_at_the_deadline(over: threading.Event) -> None:
    pool = Pool()
    calls = {str(number): partial(waits, over, [], str(number)) for number in range(500)}
    began = time.monotonic()
    answers = pool.all_at_once(calls, Until(0.1))
    assert time.monotonic() - began < 1.0
    assert all(isinstance(answer, CollectError) for answer in answers.values())
    pool.close()


def test_who_answered_is_asked_although_all_others_hold_their_threads(
    over: threading.Event,
) -> None:
    pool, asked = FairPool(), list[str]()
    good: dict[str, Call] = {"good": lambda: "here"}
    assert pool.all_at_once(good, Until(5)) == {"good": "here"}
    for _ in range(3):
        bad: dict[str, Call] = {
            str(number): partial(waits, over, asked, str(number)) for number in range(40)
        }
        assert pool.all_at_once({**bad, **good}, Until(0.1))["good"] == "here"
    assert len(asked) == THREADS, "they hold the threads of the others, and no more"
    pool.close()


def test_who_was_asked_longest_ago_comes_first() -> None:
    pool, asked = FairPool(), list[str]()

    def late(name: str) -> str:
        asked.append(name)
        time.sleep(0.3)
        raise CollectError("timeout", name)

    calls = {str(number): partial(late, str(number)) for number in range(3 * THREADS)}
    while len(asked) < 2 * THREADS:
        before = len(asked)
        pool.all_at_once(calls, Until(0.1))
        wait_until(lambda: not pool._busy, "the threads to be free")
        assert len(asked) > before
    assert len(set(asked)) == len(asked), "none twice before each was asked once"
    pool.close()


def test_who_holds_a_call_is_not_asked_again(over: threading.Event) -> None:
    pool, asked = FairPool(), list[str]()
    assert pool.all_at_once({"a": lambda: "here"}, Until(5)) == {"a": "here"}
    for _ in range(3):
        answer = pool.all_at_once({"a": partial(waits, over, asked, "a")}, Until(0.05))["a"]
        assert isinstance(answer, CollectError)
    assert asked == ["a"]
    pool.close()
