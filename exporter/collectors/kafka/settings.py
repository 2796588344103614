"""What a Kafka collector is told: plain data, so that its process needs no library of the config file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.names import NameMatcher
from exporter.secrets import with_secrets

EVERYTHING = NameMatcher((".*",))
NOTHING = NameMatcher(())


@dataclass(frozen=True)
class KafkaSettings:
    """One cluster, and what of it is wanted."""

    name: str
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

    def client_properties(self) -> dict[str, str]:
        """Return librdkafka's properties, secrets read now. Raises `SecretFileError`."""
        return with_secrets(self.name, self.properties, self.property_files)
