"""Reads the lines of `scaling` in the config."""

from __future__ import annotations

from typing import NamedTuple

from exporter.config import Config
from exporter.config.scaling import InputConfig, ScalingConfig
from exporter.scaling.policy import Input, PolicyLine, PolicyTable, Weights


class Question(NamedTuple):
    """One query of a Prometheus."""

    addresses: tuple[str, ...]
    query: str
    interval: float = 15.0
    username: str | None = None


def policy_table(config: Config) -> PolicyTable:
    """Return the policies of the config, in its order."""
    return PolicyTable([_line(line) for line in config.scaling])


def questions(config: Config) -> dict[Question, InputConfig]:
    """Return the queries that the policies use."""
    return {_question(each): each for line in config.scaling for each in line.inputs}


def _line(line: ScalingConfig) -> PolicyLine:
    patterns = {} if line.match is None else line.match.patterns()
    weights = line.weights
    return PolicyLine(
        patterns,
        {
            "minimum": line.minimum,
            "maximum": line.maximum,
            "drain_time": line.drain_time,
            "cooldown_out": line.cooldown_out,
            "cooldown_in": line.cooldown_in,
            "weights": Weights(weights.lag, weights.age, weights.rate),
            "out_above": line.out_above,
            "in_below": line.in_below,
            "hold_large_messages": line.hold_large_messages,
            "inputs": tuple(Input(_question(i), i.target, i.weight) for i in line.inputs),
        },
    )


def _question(given: InputConfig) -> Question:
    return Question(given.prometheus, given.query, given.interval, given.username)
