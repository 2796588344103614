"""Types of config values: durations, patterns, addresses and others."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from exporter.patterns import NamePattern, PatternError, meant_by_glob

UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
LONGEST = 366 * UNITS["d"]
"""Seconds; timers cannot count much further."""
MAX_PORT = 65_535
MAX_NAME = 200
RESERVED_LABELS = frozenset(
    {
        *("system", "source", "vhost", "destination", "partition", "group", "node", "task"),
        *("reason", "state", "kind", "status", "cause", "method", "stage", "result", "code", "le"),
        *("job", "instance"),
    }
)
"""Labels that the exporter or Prometheus sets."""

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]*):([0-9]{1,5})")
_SERVER = re.compile(
    r"(?:(?:SASL_)?(?:PLAINTEXT|SSL)://)?(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/,\[\]]+)(?::([0-9]{1,5}))?",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::([0-9]{1,5}))?", re.ASCII)
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def fault(expected: str, shown: str | None = None) -> PydanticCustomError:
    """Return the error of a value.

    `shown` may quote the value; it is used if the value cannot be a secret.
    """
    context = {"expected": expected, "shown": expected if shown is None else shown}
    return PydanticCustomError("config", "{expected}", context)


def seconds(value: Any) -> Any:
    """Return a duration in seconds."""
    text = "" if isinstance(value, bool) else str(value)
    if _NUMBER.fullmatch(text):
        needs = "a duration needs a unit"
        raise fault(f"{needs}, such as 10s", f"{needs}; write {text}s")
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        raise fault("expected a duration such as 500ms, 10s, 2m or 1h30m")
    found = sum(float(number) * UNITS[unit] for number, unit in _PART.findall(value))
    if found > LONGEST:
        raise fault("at most 366d")
    return found


def _interval(value: float) -> float:
    if value < UNITS["ms"] * 100:
        raise fault("at least 100ms")
    return value


def _positive(value: float) -> float:
    if value < UNITS["ms"]:
        raise fault("at least 1ms")
    return value


def duration(default: str) -> Any:
    """Return a field for a duration with this default."""
    return Field(default=seconds(default), json_schema_extra={"default": default})


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        raise fault("expected a regular expression in quotes")
    try:
        NamePattern(value)
    except PatternError as error:
        # The engine quotes the part that is wrong, which may come from a variable.
        glob = meant_by_glob(value)
        hint = "" if glob is None else f"; did you mean `{glob}`?"
        raise fault(
            "not a regular expression", f"not a regular expression: {error}{hint}"
        ) from None
    return value


def _address(value: Any) -> Any:
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > MAX_PORT:
        raise fault("expected host:port, such as 0.0.0.0:9877, :9877 or [::1]:9877")
    return value


def _hosts(value: Any) -> Any:
    expected = "expected a list of host names or addresses, such as [metrics.example.com, 10.0.0.5]"
    if not isinstance(value, list | tuple):
        raise fault(expected)
    for item in value:
        match = _HOST.fullmatch(item) if isinstance(item, str) else None
        if match is None or int(match[1] or 1) > MAX_PORT:
            raise fault(f"{expected}; write host or host:port, without http://, * or a path")
    return tuple(value)


def _servers(value: Any) -> Any:
    items = value.split(",") if isinstance(value, str) else value
    expected = "expected host:port; separate several with commas, or give a list"
    if not isinstance(items, list | tuple) or not items:
        raise fault(expected)
    servers = [item.strip() if isinstance(item, str) else "" for item in items]
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or not 0 < int(match[1] or 1) <= MAX_PORT:
            raise fault(expected)
    return ",".join(servers)


def _url(value: Any, schemes: tuple[str, ...]) -> str:
    """Return an address of `schemes`, without a slash at its end.

    No message shows it, because it may contain a password.
    """
    expected = f"expected an address such as {schemes[0]}://host:port"
    if not isinstance(value, str) or any(char.isspace() or ord(char) < ord(" ") for char in value):
        raise fault(expected)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise fault(expected) from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise fault(f"{expected}; it begins with {' or '.join(f'{s}://' for s in schemes)}")
    if "@" in parts.netloc:
        raise fault(
            "the address must not contain a user or password; use the keys username and password"
        )
    if parts.query or parts.fragment:
        raise fault(f"{expected}, without ? and #")
    return value.rstrip("/")


def _urls(*schemes: str, path: bool) -> BeforeValidator:
    """Return a validator of one address or a list of them."""

    def check(value: Any) -> Any:
        items = value if isinstance(value, list | tuple) else [value]
        found = tuple(_url(item, schemes) for item in items)
        if not path and any(urlsplit(url).path for url in found):
            raise fault(f"expected an address such as {schemes[0]}://host:port, without a path")
        if len(set(found)) < len(found):
            raise fault("the same address is listed twice")
        return found

    return BeforeValidator(check)


def _switch(value: Any) -> Any:
    found = _TRUTHS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise fault("expected true or false")
    return found


def _count(value: Any) -> Any:
    text = "" if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < 1:
        raise fault("expected a whole number of 1 or more")
    return int(text)


def _limit(value: Any) -> Any:
    text = "" if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise fault("expected a whole number of 0 or more")
    return int(text)


def _ratio(value: Any) -> Any:
    try:
        found = float(value) if isinstance(value, str | int | float) else -1.0
    except (ValueError, OverflowError):
        found = -1.0
    if isinstance(value, bool) or not 0.0 <= found <= 1.0:
        raise fault("expected a number from 0 to 1")
    return found


def _topic_name(value: Any) -> Any:
    if not isinstance(value, str) or not _TOPIC.fullmatch(value) or value in (".", ".."):
        raise fault("expected a topic name: at most 249 letters, digits, dots, _ and -")
    if value.startswith("__"):
        raise fault(
            "this name is reserved for Kafka's internal topics; choose another topic for the probes"
        )
    return value


def _name(value: str) -> str:
    if not value.strip():
        raise fault("must not be empty")
    if len(value) > MAX_NAME:
        raise fault(f"at most {MAX_NAME} characters")
    if _CONTROL.search(value):
        raise fault("must be a single line without control characters")
    return value


def _label_name(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
        raise fault(
            "not a label name: use letters, digits and _, and do not begin with a digit or __"
        )
    if name in RESERVED_LABELS:
        raise fault("this label is set by the exporter or by Prometheus; choose another")
    return name


def not_empty(value: Any) -> Any:
    """Return what is given, unless it is an empty list."""
    if value in ([], ()):
        raise fault("must not be empty")
    return value


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": DURATION_PATTERN,
    "examples": ["500ms", "10s", "2m", "1h30m", "7d"],
}

_ONE_OR_MORE = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
    ]
}

_Seconds = Annotated[float, BeforeValidator(seconds), WithJsonSchema(_DURATION_SCHEMA)]
Interval = Annotated[_Seconds, AfterValidator(_interval)]
Positive = Annotated[_Seconds, AfterValidator(_positive)]
Pattern = Annotated[
    str, BeforeValidator(_pattern), WithJsonSchema({"type": "string", "format": "regex"})
]
Listen = Annotated[
    str, BeforeValidator(_address), WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})
]
Hosts = Annotated[
    tuple[str, ...],
    BeforeValidator(_hosts),
    WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": f"^{_HOST.pattern}$"}}),
]
Servers = Annotated[str, BeforeValidator(_servers), WithJsonSchema(_ONE_OR_MORE)]
HttpUrls = Annotated[
    tuple[str, ...], _urls("http", "https", path=True), WithJsonSchema(_ONE_OR_MORE)
]
"""One address or a list of them."""
AmqpUrls = Annotated[
    tuple[str, ...], _urls("amqp", "amqps", path=False), WithJsonSchema(_ONE_OR_MORE)
]
Switch = Annotated[bool, BeforeValidator(_switch)]
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1})]
Limit = Annotated[int, BeforeValidator(_limit), WithJsonSchema({"type": "integer", "minimum": 0})]
Ratio = Annotated[
    float, BeforeValidator(_ratio), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
TopicName = Annotated[
    str,
    BeforeValidator(_topic_name),
    WithJsonSchema({"type": "string", "pattern": "^[a-zA-Z0-9._-]{1,249}$"}),
]
Name = Annotated[
    str,
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
]
Labels = dict[Annotated[str, AfterValidator(_label_name)], str]
