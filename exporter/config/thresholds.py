"""The table of thresholds: which subscription is compared with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from exporter.config.shared import Model
from exporter.config.types import DURATION_PATTERN, Pattern, Switch, fault, seconds

OFF = "off"


def _or_off(check: Callable[[Any], Any]) -> BeforeValidator:
    """Return a validator that takes `off` as None, and everything else to `check`."""

    def either(value: Any) -> Any:
        if value is False or (isinstance(value, str) and value.strip().lower() == OFF):
            return None
        return check(value)

    return BeforeValidator(either)


def _messages(value: Any) -> Any:
    text = "" if isinstance(value, bool) else str(value)
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):  # noqa: PLR2004 - more is exact in no float
        raise fault("expected a whole number of messages, or off")
    return int(text)


def _duration(value: Any) -> Any:
    found = seconds(value)
    if found <= 0:
        raise fault("expected a duration of more than 0, or off")
    return found


def _factor(value: Any) -> Any:
    try:
        found = float(value) if isinstance(value, str | int | float) else -1.0
    except (ValueError, OverflowError):
        found = -1.0
    if isinstance(value, bool) or not 0.0 < found <= 10.0:  # noqa: PLR2004 - nobody consumes ten times what comes in
        raise fault("expected a number of more than 0 and at most 10, such as 0.9, or off")
    return found


def _schema(**kind: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [kind, {"const": OFF}, {"const": False}]})


Messages = Annotated[int | None, _or_off(_messages), _schema(type="integer", minimum=0)]
Seconds = Annotated[
    float | None, _or_off(_duration), _schema(type="string", pattern=DURATION_PATTERN)
]
Factor = Annotated[float | None, _or_off(_factor), _schema(type="number", minimum=0)]


class Match(Model):
    """Which subscriptions a line is about: every pattern given has to match the whole of its label."""

    system: Pattern | None = None
    source: Pattern | None = None
    vhost: Pattern | None = None
    destination: Pattern | None = None
    group: Pattern | None = None
    """A label that a subscription does not have is like an empty one."""

    def patterns(self) -> dict[str, str]:
        """Return the patterns that are given, by label."""
        return {label: each for label, each in self.model_dump().items() if each is not None}


class ThresholdConfig(Model):
    """One line. The first that matches counts; what it does not say comes from the last line, which has no `match`."""

    match: Match | None = None
    """Only in the last line it may be missing."""
    lag_messages: Messages = 1_000
    """Messages enqueued and not yet processed."""
    lag_seconds: Seconds = 5.0
    """Age of the oldest of them."""
    consume_ratio: Factor = 1.0
    """Part of what is produced that has to be consumed."""
    stop_seconds: Seconds = 300.0
    """How long a position may stand still while messages wait."""
    probe_seconds: Seconds = 1.0
    """A probe, from end to end; only lines that match nothing but system and source set it."""
    consumers_expected: Switch = True
    """Whether nobody reading is a fault."""

    def said(self) -> dict[str, Any]:
        """Return what the line says, without what it leaves to the last one."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "match"}


def checked_lines(value: Any) -> Any:
    """Refuse lines that could never count: those behind a line that matches everything."""
    if not isinstance(value, list | tuple):
        raise fault("expected a list of lines")
    for index, line in enumerate(value):
        if not isinstance(line, dict):
            continue
        everything = line.get("match") in (None, {})
        if everything and index < len(value) - 1:
            raise fault(
                f"line {index + 1} of {len(value)} has no match, so the lines behind it would never count; put it last"
            )
    return value


ThresholdLines = Annotated[tuple[ThresholdConfig, ...], BeforeValidator(checked_lines)]
