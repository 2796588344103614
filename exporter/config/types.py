"""Values that a config file writes in a way of its own: durations, patterns, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
DURATION_PATTERN = r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"
LISTEN = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]*):(\d{1,5})")
MAX_PORT = 65_535


def seconds(value: Any) -> Any:
    """Return a duration in seconds; one that is a number already is taken from code, never from a file."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a duration such as 10s, 2m or 1h30m")
    text = str(value).strip()
    if re.fullmatch(DURATION_PATTERN, text):
        return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))
    if re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f"a duration needs a unit; write {text}s")
    raise ValueError("expected a duration such as 500ms, 10s, 2m or 1h30m")


def at_least(least: float, text: str) -> Callable[[float], float]:
    """Return a check that a duration is not shorter."""

    def check(value: float) -> float:
        if value < least:
            raise ValueError(f"at least {text}")
        return value

    return check


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("expected a regular expression in quotes")  # noqa: TRY004 - pydantic's protocol
    try:
        re.compile(value, re.DOTALL)
    except re.error as error:
        at = "" if error.pos is None else f" at position {error.pos}"
        raise ValueError(f"not a regular expression: {error.msg}{at}") from None
    return value


def _address(value: Any) -> Any:
    match = LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > MAX_PORT:
        raise ValueError("expected host:port, such as 0.0.0.0:9877, :9877 or [::1]:9877")
    return value


def _servers(value: Any) -> Any:
    items = value if isinstance(value, list) else str(value).split(",")
    names = [item.strip() for item in items if isinstance(item, str) and item.strip()]
    if not names or len(names) < len(items):
        raise ValueError("expected host:port, several of them separated by commas or as a list")
    return ",".join(names)


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": DURATION_PATTERN,
    "examples": ["500ms", "10s", "2m", "1h30m"],
}


def duration(default: str) -> Any:
    """Return a field for a duration with this default."""
    return Field(default=seconds(default), json_schema_extra={"default": default})


Seconds = Annotated[float, BeforeValidator(seconds), WithJsonSchema(_DURATION_SCHEMA)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
Listen = Annotated[str, BeforeValidator(_address)]
Servers = Annotated[
    str,
    BeforeValidator(_servers),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
