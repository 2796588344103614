"""The settings of a Kafka collector.

Plain data, so that the collector's process does not load the libraries of the config.
"""

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
"""Suffixes of librdkafka properties whose values are paths."""
NO_FILES = frozenset({"", "probe"})
"""Values of `ssl.ca.location` that mean the system's certificates."""


@dataclass(frozen=True)
class KafkaSettings(Settings):
    """One cluster, and which data to collect from it."""

    TASKS = ("discovery", "backlog", "latency", "consumers", "probe")
    FOLLOWS: ClassVar[Mapping[str, str]] = {"latency": "backlog"}

    properties: Mapping[str, str] = field(repr=False)
    """librdkafka's properties, including `bootstrap.servers`."""
    property_files: Mapping[str, Path] = field(default_factory=dict)
    destinations: NameMatcher = EVERYTHING
    groups: NameMatcher = EVERYTHING
    group_names: tuple[str, ...] | None = None
    """The groups to read if they cannot be listed."""
    internals: bool = False
    read_committed: bool = False
    """Whether every group reads committed records only."""
    read_committed_groups: NameMatcher = NOTHING
    offsets: Literal["auto", "admin", "stream"] = "auto"
    """Where committed offsets are read."""
    consumers_interval: float = 30.0
    """Seconds between two descriptions of all groups."""
    method: Literal["auto", "time_index", "record"] = "auto"
    """How ages are determined."""
    header: str | None = None
    """Header with the producer's timestamp; if set, records are read."""
    tolerance_seconds: float = 1.0
    tolerance_ratio: float = 0.01
    """The required accuracy of an age: the larger limit applies.

    The ratio is a fraction of the age.
    """
    latency_limit: int = 1_000
    """Number of subscriptions with a latency histogram."""
    latency_groups: NameMatcher = NOTHING
    """Groups that always have one."""
    probe: bool | None = None
    """Whether to send probes; None means if the rights allow it."""
    probe_topic: str = "mq-lag-exporter-probe"
    probe_deadline: float = 5.0
    """Seconds after which a probe counts as lost."""

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables that this source's login needs."""
        return of_source(self.properties, environ)

    def learn_secrets(self) -> None:
        """Register the secrets in the client's properties, so that logs mask them."""
        learn_client(self.properties)

    def secret_paths(self) -> tuple[Path, ...]:
        """Return all files with passwords, keys and certificates that the source uses.

        The exporter reads some of them, librdkafka the others.
        """
        read_by_it = [
            Path(value)
            for name, value in sorted(self.properties.items())
            if name.endswith(FILE_PROPERTIES) and value not in NO_FILES
        ]
        return (*self.property_files.values(), *read_by_it)

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties with current secrets. Raises `SecretFileError`."""
        return with_secrets(self.name, self.properties, self.property_files)
