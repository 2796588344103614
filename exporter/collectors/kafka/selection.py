"""Which topics and groups a source is to show, decided once a name."""

from __future__ import annotations

import re
from collections.abc import Callable

from exporter.collectors.kafka.probe.layout import probe_group
from exporter.collectors.kafka.settings import KafkaSettings

INTERNAL_TOPIC = re.compile(r"__.*|mq-lag-exporter-.*", re.DOTALL)
"""Kafka's own topics, and this exporter's."""


class Decisions(dict[str, bool]):
    """A mapping that decides about a name when it is first asked for."""

    def __init__(self, decide: Callable[[str], bool]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, name: str) -> bool:
        decision = self[name] = self._decide(name)
        return decision


class Selection:
    """The filters of one source. Regular expressions run once a name, not once a cycle."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._probe_group = probe_group(settings.probe_topic)
        self.topics = Decisions(self._wants_topic)
        self._groups = Decisions(self._wants_group)
        self._committed = Decisions(self._is_committed)

    def topic(self, name: str) -> bool:
        """Whether the topic is to be shown."""
        return self.topics[name]

    def group(self, name: str) -> bool:
        """Whether the group is to be shown."""
        return self._groups[name]

    def reads_committed(self, group: str) -> bool:
        """Whether the group's lag ends at the last stable offset."""
        return self._committed[group]

    def seen(self) -> int:
        """How many names were decided about."""
        return len(self.topics) + len(self._groups)

    def forget(self) -> None:
        """Drop the decisions, so that names which are gone are not kept for ever."""
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
