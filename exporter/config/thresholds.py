"""The list of thresholds, with the subscriptions to which each line applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from exporter.config.shared import Model
from exporter.config.types import DURATION_PATTERN, Pattern, Switch, fault, seconds

OFF = "off"


def _or_off(check: Callable[[Any], Any]) -> BeforeValidator:
    """Return a validator that turns `off` into None and passes everything else to `check`."""

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
        raise fault("expected a duration greater than 0, or off")
    return found


def _factor(value: Any) -> Any:
    try:
        found = float(value) if isinstance(value, str | int | float) else -1.0
    except (ValueError, OverflowError):
        found = -1.0
    if isinstance(value, bool) or not 0.0 < found <= 10.0:  # noqa: PLR2004 - a larger factor makes no sense
        raise fault("expected a number greater than 0 and at most 10, such as 0.9, or off")
    return found


def _schema(**kind: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [kind, {"const": OFF}, {"const": False}]})


Messages = Annotated[int | None, _or_off(_messages), _schema(type="integer", minimum=0)]
Seconds = Annotated[
    float | None, _or_off(_duration), _schema(type="string", pattern=DURATION_PATTERN)
]
Factor = Annotated[float | None, _or_off(_factor), _schema(type="number", minimum=0)]


class Match(Model):
    """Subscriptions to which a line applies. Every given pattern must match the whole label."""

    system: Pattern | None = None
    source: Pattern | None = None
    vhost: Pattern | None = None
    destination: Pattern | None = None
    group: Pattern | None = None
    """A label that a subscription does not have counts as empty."""

    def patterns(self) -> dict[str, str]:
        """Return the patterns that are given, by label."""
        return {label: each for label, each in self.model_dump().items() if each is not None}


class MatchedLine(Model):
    """A line of a list in which the first line that matches applies."""

    match: Match | None = None
    """Subscriptions to which the line applies. Only the last line may leave it out."""

    def patterns(self) -> dict[str, str]:
        """Return the patterns that are given, by label; without any, the line matches all."""
        return {} if self.match is None else self.match.patterns()


class ThresholdConfig(MatchedLine):
    """One line. The first line that matches applies.

    Keys that it does not set come from the last line, which has no `match`.
    """

    lag_messages: Messages = 1_000
    """Maximum lag: messages enqueued and not yet processed."""
    lag_seconds: Seconds = 5.0
    """Maximum age of the oldest unprocessed message."""
    consume_ratio: Factor = 1.0
    """Minimum of consumed messages divided by produced messages."""
    stop_seconds: Seconds = 300.0
    """Stop time: how long nothing may be processed while messages wait."""
    probe_seconds: Seconds = 1.0
    """Maximum end-to-end latency of a probe. Only lines that match by system and source alone can
    set it.
    """
    consumers_expected: Switch = True
    """Whether the subscription is expected to have consumers. Set it to false for dead-letter and
    delay queues.
    """

    def said(self) -> dict[str, Any]:
        """Return the keys that the line itself sets."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "match"}


def checked_lines(value: Any) -> Any:
    """Refuse lines that could never apply: those after a line that matches everything."""
    if not isinstance(value, list | tuple):
        raise fault("expected a list of lines")
    for index, line in enumerate(value):
        if not isinstance(line, dict):
            continue
        everything = line.get("match") in (None, {})
        if everything and index < len(value) - 1:
            raise fault(
                f"line {index + 1} of {len(value)} has no match, so the lines after it would never "
                f"apply; put it last"
            )
    return value


ThresholdLines = Annotated[tuple[ThresholdConfig, ...], BeforeValidator(checked_lines)]
