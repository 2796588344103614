"""What a Kafka collector is told: plain data, so that its process needs no library of the config file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from exporter.collectors.process.environment import of_source
from exporter.collectors.settings import Settings
from exporter.name_filter import EVERYTHING, NOTHING, NameMatcher
from exporter.scrub import learn_client
from exporter.secret_files import with_secrets

FILE_PROPERTIES = (".location", ".keytab", ".key.file")
"""How the names of librdkafka's properties end whose values are paths."""
NO_FILES = frozenset({"", "probe"})
"""Values of `ssl.ca.location` that stand for what the system has."""


@dataclass(frozen=True)
class KafkaSettings(Settings):
    """One cluster, and what of it is wanted."""

    TASKS = ("discovery", "backlog", "latency", "consumers", "probe")
    FOLLOWS: ClassVar[Mapping[str, str]] = {"latency": "backlog"}

    properties: Mapping[str, str] = field(repr=False)
    """librdkafka's, `bootstrap.servers` among them."""
    property_files: Mapping[str, Path] = field(default_factory=dict)
    destinations: NameMatcher = EVERYTHING
    groups: NameMatcher = EVERYTHING
    group_names: tuple[str, ...] | None = None
    """The groups to read, where they can't be listed."""
    internals: bool = False
    read_committed: bool = False
    """Whether every group reads committed records only."""
    read_committed_groups: NameMatcher = NOTHING
    consumers_interval: float = 30.0
    """Seconds between two descriptions of all groups."""
    method: Literal["auto", "time_index", "record"] = "auto"
    """How ages are found."""
    header: str | None = None
    """Header with the producer's timestamp; records are read then."""
    tolerance_seconds: float = 1.0
    tolerance_ratio: float = 0.01
    """How exact an age has to be: within the larger of the two, the second as a part of the age."""
    latency_limit: int = 1_000
    """The first so many subscriptions have a histogram of latencies."""
    latency_groups: NameMatcher = NOTHING
    """Groups that have one in any case."""
    probe: bool | None = None
    """Whether to send probes; None is where the rights are there."""
    probe_topic: str = "mq-lag-exporter-probe"
    probe_deadline: float = 5.0
    """Seconds after which a probe is lost."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the login of this source needs."""
        return of_source(self.properties, environ)

    def learn_secrets(self) -> None:
        """Let the secrets among the client's properties be masked."""
        learn_client(self.properties)

    def secret_paths(self) -> tuple[Path, ...]:
        """Return the files with passwords, keys and certificates: those that are read here, and those that librdkafka reads."""
        read_by_it = [
            Path(value)
            for name, value in sorted(self.properties.items())
            if name.endswith(FILE_PROPERTIES) and value not in NO_FILES
        ]
        return (*self.property_files.values(), *read_by_it)

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, secrets read now. Raises `SecretFileError`."""
        return with_secrets(self.name, self.properties, self.property_files)
