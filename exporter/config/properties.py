"""librdkafka's properties: which are allowed, and which are read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from exporter.config.types import fault

REFUSED = {
    "bootstrap.servers": "use bootstrap_servers",
    "metadata.broker.list": "use bootstrap_servers",
    "group.id": "the exporter never joins a group",
    "group.protocol": "the exporter never joins a group",
    "enable.auto.commit": "the exporter controls its own commits",
    "test.mock.num.brokers": "it would replace the cluster with a simulated one",
}
"""Properties that the exporter sets itself, or that would break it, and why."""
FUNCTIONS = frozenset({"logger", "on_commit", "on_delivery"})
"""Properties of the Python client that are functions or objects, besides `..._cb`."""


def _property_name(name: str) -> str:
    if name in REFUSED:
        raise fault(f"cannot be set here: {REFUSED[name]}")
    if name in FUNCTIONS or name.endswith("_cb"):
        raise fault("cannot be set here: its value is a function of the Python client")
    return name


def _property_value(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and "\0" in value:
        raise fault("must not contain a NUL character")
    return value


def _file(value: Any) -> Any:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise fault("expected the path of a file")
    return value


PropertyName = Annotated[str, AfterValidator(_property_name)]
PropertyValue = Annotated[
    str,
    BeforeValidator(_property_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
SecretPath = Annotated[
    Path, BeforeValidator(_file), WithJsonSchema({"type": "string", "minLength": 1})
]
