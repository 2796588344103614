"""Which topics and channels are shown."""

from __future__ import annotations

from exporter.collectors.nsq.settings import NsqSettings

EPHEMERAL = "#ephemeral"


class TopicSelection:
    """The filters of one source."""

    def __init__(self, settings: NsqSettings) -> None:
        self._settings = settings

    def topic(self, name: str) -> bool:
        """Whether the topic is to be shown."""
        settings = self._settings
        internal = name.endswith(EPHEMERAL) or name.startswith(settings.probe_topic)
        return (settings.internals or not internal) and settings.destinations.allows(name)

    def channel(self, name: str) -> bool:
        """Whether the channel is to be shown."""
        internal = name.endswith(EPHEMERAL)
        return (self._settings.internals or not internal) and self._settings.groups.allows(name)
