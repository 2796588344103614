"""Reads the web configuration beside the event loop."""

import asyncio

from exporter.web.server.lanes import BusyError, Lane
from exporter.web.webconfig import WebConfig, WebSettings

READ_SECONDS = 5.0
"""After this long, a reading continues in its thread while the current settings stay in use."""


class WebFile:
    """The settings in use. They are read again when one of the files has changed."""

    def __init__(self, config: WebConfig) -> None:
        """`config` has been read once."""
        self._config = config
        self._lane = Lane("web-config", threads=1, waiting=1, of_one=1)
        self._reading: asyncio.Task[None] | None = None

    @property
    def tls(self) -> bool:
        """Whether TLS is served."""
        return self._config.tls

    @property
    def settings(self) -> WebSettings:
        """The settings in use, without checking the files."""
        return self._config.in_force

    async def refreshed(self) -> WebSettings:
        """Return the current settings of the files, or those in use if reading takes too long."""
        if self._config.changed():
            if self._reading is None or self._reading.done():
                self._reading = asyncio.get_running_loop().create_task(self._read())
            await asyncio.wait({self._reading}, timeout=READ_SECONDS)
        return self.settings

    def stop(self) -> None:
        """Let the thread end."""
        self._lane.stop()

    async def _read(self) -> None:
        try:
            await self._lane.run("", self._config.current)
        except BusyError:
            return
