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
    settings = line.model_dump(exclude={"match", "weights", "inputs"})
    weights = Weights(**line.weights.model_dump())
    inputs = tuple(Input(_question(each), each.target, each.weight) for each in line.inputs)
    return PolicyLine(line.patterns(), {**settings, "weights": weights, "inputs": inputs})


def _question(given: InputConfig) -> Question:
    return Question(given.prometheus, given.query, given.interval, given.username)
