"""Selects the topics and channels to show."""

from __future__ import annotations

from exporter.collectors.nsq.settings import NsqSettings

EPHEMERAL = "#ephemeral"


class TopicSelection:
    """The filters of one source."""

    def __init__(self, settings: NsqSettings) -> None:
        self._settings = settings

    def topic(self, name: str) -> bool:
        """Return whether the topic is shown."""
        settings = self._settings
        internal = name.endswith(EPHEMERAL) or name.startswith(settings.probe_topic)
        return (settings.internals or not internal) and settings.destinations.allows(name)

    def channel(self, name: str) -> bool:
        """Return whether the channel is shown."""
        internal = name.endswith(EPHEMERAL)
        return (self._settings.internals or not internal) and self._settings.groups.allows(name)
