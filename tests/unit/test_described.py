"""Which groups need not be described again."""

from __future__ import annotations

from exporter.collectors.kafka.commit_stream.described import AGAIN_SECONDS, DescribedGroups

NAMES = [f"group-{number}" for number in range(200)]


def described(at: float = 0.0) -> DescribedGroups:
    """All of them are followed, and were described."""
    groups = DescribedGroups()
    groups.follow(NAMES)
    groups.begin(NAMES, at)
    return groups


def test_groups_without_news_are_described_again_some_after_the_other() -> None:
    groups, (least, most) = described(), AGAIN_SECONDS
    assert groups.due(NAMES, least - 1.0) == []
    assert 50 < len(groups.due(NAMES, (least + most) / 2)) < 150
    assert groups.due(NAMES, most) == NAMES


def test_a_group_with_news_is_described_again() -> None:
    groups = described()
    groups.forget(["group-7", "other"])
    assert groups.due(NAMES, 1.0) == ["group-7"]


def test_news_during_the_description_are_not_lost() -> None:
    groups = described()
    groups.forget(["group-7"])
    groups.begin(["group-7"], 1.0)
    groups.forget(["group-7"])
    assert groups.due(NAMES, 2.0) == ["group-7"]


def test_a_group_whose_records_were_not_all_read_is_described_again() -> None:
    groups = described()
    groups.follow(NAMES[1:])
    groups.follow(NAMES)
    assert groups.due(NAMES, 1.0) == [NAMES[0]]


def test_groups_that_are_not_followed_are_always_described() -> None:
    groups = described()
    groups.begin(["other"], 0.0)
    assert groups.due(["other", *NAMES], 1.0) == ["other"]
