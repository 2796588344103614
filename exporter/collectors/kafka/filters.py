"""Which topics and groups of a source are shown, decided once per name."""

from __future__ import annotations

import re
from collections.abc import Callable

from exporter.collectors.kafka.probe.layout import probe_group
from exporter.collectors.kafka.settings import KafkaSettings

INTERNAL_TOPIC = re.compile(r"__.*|mq-lag-exporter-.*", re.DOTALL)
"""Internal topics of Kafka and of this exporter."""


class Decisions(dict[str, bool]):
    """A mapping that decides on a name at its first lookup."""

    def __init__(self, decide: Callable[[str], bool]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, name: str) -> bool:
        decision = self[name] = self._decide(name)
        return decision


class KafkaFilters:
    """The filters of one source. Regular expressions run once per name, not once per cycle."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._probe_group = probe_group(settings.probe_topic)
        self.topics = Decisions(self._wants_topic)
        self._groups = Decisions(self._wants_group)
        self._committed = Decisions(self._is_committed)

    def topic(self, name: str) -> bool:
        """Return whether the topic is shown."""
        return self.topics[name]

    def group(self, name: str) -> bool:
        """Return whether the group is shown."""
        return self._groups[name]

    def reads_committed(self, group: str) -> bool:
        """Return whether the group's lag ends at the last stable offset."""
        return self._committed[group]

    def decided(self) -> int:
        """Return the number of names with a decision."""
        return len(self.topics) + len(self._groups)

    def forget(self) -> None:
        """Drop all decisions, so that deleted names do not accumulate."""
        for decisions in (self.topics, self._groups, self._committed):
            decisions.clear()

    def _wants_topic(self, name: str) -> bool:
        settings = self._settings
        internal = name == settings.probe_topic or INTERNAL_TOPIC.fullmatch(name) is not None
        return (settings.internals or not internal) and settings.destinations.allows(name)

    def _wants_group(self, name: str) -> bool:
        settings = self._settings
        internal = self._probe_group.fullmatch(name) is not None
        return (settings.internals or not internal) and settings.groups.allows(name)

    def _is_committed(self, group: str) -> bool:
        settings = self._settings
        return settings.read_committed or settings.read_committed_groups.allows(group)
