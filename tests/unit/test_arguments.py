"""The options of the commands: help for each, examples, and how the config is given."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.arguments import options_of, parser_of_commands


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser_of_commands()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


@pytest.mark.parametrize(("name", "parser"), list(commands()), ids=[name for name, _ in commands()])
def test_every_option_has_help_and_every_command_an_example(
    name: str, parser: argparse.ArgumentParser
) -> None:
    assert [action.dest for action in parser._actions if not action.help] == []
    text = parser.format_help()
    assert f"\n  mq-lag-exporter {name} " in text.partition("example")[2]


@pytest.mark.parametrize("command", ["run", "once", "check"])
@pytest.mark.parametrize(
    "given",
    [["a.yaml"], ["--config", "a.yaml"], ["--config=a.yaml"], ["a.yaml", "--config=a.yaml"]],
)
def test_the_config_is_given_in_the_same_way_to_each_command(
    command: str, given: list[str]
) -> None:
    assert options_of([command, *given]).config == Path("a.yaml")


@pytest.mark.parametrize("given", [[], ["a.yaml", "--config", "b.yaml"]])
def test_exactly_one_config_is_given(given: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options_of(["run", *given])
    assert caught.value.code == 2


def test_days_are_more_than_0() -> None:
    assert options_of(["check", "a.yaml"]).idle_days == 7.0
    assert options_of(["check", "a.yaml", "--idle-days", "0.5"]).idle_days == 0.5
    for wrong in ("0", "-1", "nan", "1e9", "week"):
        with pytest.raises(SystemExit):
            options_of(["check", "a.yaml", f"--idle-days={wrong}"])
