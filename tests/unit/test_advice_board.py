"""The board with the last advice: one subscription is found by any of its names."""

from __future__ import annotations

import pytest

from exporter.scaling.board import (
    AdviceBoard,
    BlindError,
    NoAdviceError,
    Published,
    SubscriptionName,
)

BILLING = SubscriptionName("kafka", None, "orders", "billing")
MAIL = SubscriptionName("rabbit", "/", "mail", None)


def advice(consumers: int, valid_until: float = 100.0) -> Published:
    return Published(consumers, consumers > 0, "a test", valid_until)


@pytest.fixture
def board() -> AdviceBoard:
    board = AdviceBoard(clock=lambda: 50.0)
    more = {BILLING._replace(group=f"other-{number}"): advice(1) for number in range(5_000)}
    board.publish("kafka", {**more, BILLING: advice(3)})
    board.publish("rabbit", {MAIL: advice(7)})
    return board


@pytest.mark.parametrize(
    ("names", "consumers"),
    [
        (("kafka", "orders", "billing", ""), 3),
        (("", "", "billing", ""), 3),
        (("rabbit", "", "", ""), 7),
        (("", "mail", "", "/"), 7),
    ],
)
def test_the_names_that_are_given_must_match(
    board: AdviceBoard, names: tuple[str, str, str, str], consumers: int
) -> None:
    assert board.find(*names).consumers == consumers


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("kafka", "orders", "", ""), "5001 subscriptions match"),
        (("", "", "", ""), "5002 subscriptions match"),
        (("rabbit", "", "billing", ""), "nearest: "),
        (("", "mail", "", "/shop"), "source 'rabbit', vhost '/', destination 'mail'"),
        (("rabit", "mail", "", ""), "source 'rabbit', vhost '/', destination 'mail'"),
        (("kafka", "orders", "x" * 1_000_000, ""), "nearest: "),
    ],
)
def test_none_or_several_are_an_error(
    board: AdviceBoard, names: tuple[str, str, str, str], text: str
) -> None:
    with pytest.raises(NoAdviceError, match=text):
        board.find(*names)


def test_an_empty_board_says_that_nothing_matches_the_config() -> None:
    board = AdviceBoard()
    board.publish("kafka", {})
    with pytest.raises(NoAdviceError, match="matches a line of `scaling`"):
        board.find("kafka")


def test_what_is_published_replaces_what_was_known(board: AdviceBoard) -> None:
    board.publish("rabbit", {MAIL: advice(8)})
    assert board.find("rabbit").consumers == 8
    board.withdraw("rabbit")
    with pytest.raises(NoAdviceError):
        board.find("rabbit")


def test_outdated_advice_is_an_error(board: AdviceBoard) -> None:
    board.publish("rabbit", {MAIL: advice(8, valid_until=50.0)})
    with pytest.raises(BlindError, match="'mail' could not be read lately"):
        board.find("rabbit")


def test_wait_returns_after_a_change(board: AdviceBoard) -> None:
    version = board.wait(-1, 0.0)
    assert board.wait(version, 0.0) == version
    board.publish("rabbit", {})
    assert board.wait(version, 10.0) > version
