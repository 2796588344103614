"""What a config may say."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from exporter.config.errors import ConfigError, Fault
from exporter.config.types import Listen, Pattern, Seconds, Servers, at_least, duration

MAX_NAME = 200
RESERVED_LABELS = frozenset(
    "system source vhost destination partition group node task reason state kind status cause "
    "method stage result le job instance".split()
)
REFUSED = {
    "bootstrap.servers": "use bootstrap_servers",
    "metadata.broker.list": "use bootstrap_servers",
    "group.id": "the exporter joins no group",
    "enable.auto.commit": "the exporter never commits",
    "test.mock.num.brokers": "it would replace the cluster",
}
"""Client properties that the exporter sets itself, or that would break it, and why."""

Interval = Annotated[Seconds, AfterValidator(at_least(0.1, "100ms"))]
Positive = Annotated[Seconds, AfterValidator(at_least(0.001, "1ms"))]


class Model(BaseModel):
    """A part of the config: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Log(Model):
    """Logging."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Schedule(Model):
    """How often each task runs, in seconds; a source uses those that its system has."""

    backlog: Interval = duration("10s")
    consumers: Interval = duration("30s")
    discovery: Interval = duration("60s")
    rates: Interval = duration("30s")
    latency: Interval = duration("10s")
    probe: Interval = duration("5s")


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
            raise ValueError(f"{name!r} is not a label name; letters, digits and _ make one")
        if name in RESERVED_LABELS:
            raise ValueError(f"the label {name!r} is set by the exporter or by the scraping side")
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_label_names)]


class Collection(Model):
    """What `defaults` may set for every source, and each source for itself."""

    schedule: Schedule = Schedule()
    deadline: Positive = duration("10s")
    """Seconds that one run of a task may take."""
    hold: Positive = duration("2m")
    """Seconds for which the last values stay while they can't be read."""
    rate_window: Positive = duration("2m")
    max_series: int = Field(default=500_000, ge=1)
    labels: Labels = Field(default_factory=dict)


class NameFilter(Model):
    """Which names are shown: those that an `include` matches whole, and no `exclude`."""

    include: tuple[Pattern, ...] = (".*",)
    exclude: tuple[Pattern, ...] = ()

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], ...]:
        return tuple(
            re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)", re.DOTALL)
            for patterns in (self.include, self.exclude)
        )

    def allows(self, name: str) -> bool:
        """Tell whether the name is to be shown."""
        include, exclude = self._compiled
        return include.fullmatch(name) is not None and exclude.fullmatch(name) is None


class GroupFilter(NameFilter):
    """Which groups are shown; `names` where the broker may not list them."""

    names: tuple[str, ...] | None = Field(default=None, min_length=1)


def _property_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


Property = Annotated[str, BeforeValidator(_property_text)]


class KafkaSource(Collection):
    """One Kafka cluster."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    system: Literal["kafka"]
    bootstrap_servers: Servers
    client: dict[str, Property] = Field(default_factory=dict, repr=False)
    """Any property of librdkafka."""
    client_files: dict[str, Path] = Field(default_factory=dict)
    """Properties whose values are read from files, at each connection anew."""
    destinations: NameFilter = NameFilter()
    groups: GroupFilter = GroupFilter()
    internals: bool = False
    isolation: Literal["read_uncommitted", "read_committed"] = "read_uncommitted"
    read_committed_groups: tuple[Pattern, ...] = ()
    granularity: Literal["partition", "subscription"] = "partition"

    @field_validator("client", "client_files")
    @classmethod
    def _own_properties(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            if name in REFUSED:
                raise ValueError(f"{name} can't be set here: {REFUSED[name]}")
            if name.endswith("_cb"):
                raise ValueError(f"{name} is a function, which a file can't give")
        return given

    @field_validator("client_files")
    @classmethod
    def _beside_the_config(cls, given: dict[str, Path], info: ValidationInfo) -> dict[str, Path]:
        folder = (info.context or {}).get("folder", Path())
        return {name: folder / path for name, path in given.items()}

    @model_validator(mode="after")
    def _once(self) -> KafkaSource:
        both = sorted(self.client.keys() & self.client_files.keys())
        if both:
            raise ValueError(f"{both[0]} is under client and under client_files; keep one of them")
        return self

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, with the contents that the files have now.

        Raises `ConfigError` naming the key and the file where one can't be read.
        """
        found = {**self.client, "bootstrap.servers": self.bootstrap_servers}
        for name, path in self.client_files.items():
            try:
                found[name] = path.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                what = error.strerror if isinstance(error, OSError) else "not UTF-8"
                key = f"sources[{self.name}].client_files.{name}"
                raise ConfigError(str(path), [Fault(0, key, f"can't be read: {what}")]) from None
        return found


class Config(Model):
    """The whole file."""

    listen: Listen = "0.0.0.0:9877"  # noqa: S104 - a container's scraper comes from outside
    reload_endpoint: bool = False
    """Whether POST /-/reload reads the config again."""
    log: Log = Log()
    defaults: Collection = Collection()
    sources: tuple[KafkaSource, ...] = Field(min_length=1)
