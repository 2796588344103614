"""The tested versions, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TITLES = {"rabbitmq": "RabbitMQ", "kafka": "Apache Kafka", "nsq": "NSQ"}
"""Systems in the order of the document."""
WORDS = {
    "kafka": "group protocol",
    "rabbitmq": "queue type",
    "nsq": "read by",
}
"""What the kinds of a system's destinations are called."""


@dataclass(frozen=True)
class Version:
    """One version of a broker."""

    system: str
    release: str
    """Short version, as in `4.0`."""
    origin: str
    """Kafka: version at Maven Central. RabbitMQ: Debian release. NSQ: version of the Go module."""
    kinds: Sequence[str]
    unsupported: Mapping[str, str] = field(default_factory=dict)
    """Kinds that this version does not have, and why."""

    @property
    def name(self) -> str:
        """Its name on the command line: `rabbitmq-4.0`."""
        return f"{self.system}-{self.release}"

    @property
    def every_kind(self) -> Sequence[str]:
        """The kinds that have a row in the table."""
        return (*self.kinds, *self.unsupported)


QUEUES = ("classic", "quorum", "stream")
BOTH = ("classic", "consumer")
NO_STREAMS = {"stream": "RabbitMQ has streams from 3.9 on"}

VERSIONS = (
    Version("rabbitmq", "3.8", "bullseye", QUEUES[:2], NO_STREAMS),
    Version("rabbitmq", "3.10", "bookworm", QUEUES),
    Version("rabbitmq", "4.0", "trixie", QUEUES),
    Version("rabbitmq", "4.3", "sid", QUEUES),
    *(
        Version("kafka", origin.rpartition(".")[0], origin, BOTH[:1])
        for origin in ("2.4.1", "2.8.2", "3.3.2", "3.6.2", "3.9.2")
    ),
    *(
        Version("kafka", origin.rpartition(".")[0], origin, BOTH)
        for origin in ("4.0.2", "4.2.1", "4.4.0")
    ),
    Version("nsq", "1.3", "v1.3.0", ("channel",)),
    Version("nsq", "master", "master", ("channel",)),
)


def chosen(names: Sequence[str]) -> Sequence[Version]:
    """Return the versions with these names; a system's name selects all of its versions.

    Without names, returns all versions. Raises ValueError for an unknown name.
    """
    known = {version.name for version in VERSIONS} | TITLES.keys()
    for name in names:
        if name not in known:
            raise ValueError(f"unknown version {name}; known versions: {', '.join(sorted(known))}")
    return [each for each in VERSIONS if not names or {each.name, each.system} & set(names)]
