"""An nsqd with a small workload for the demo, if nsqd is installed."""

from __future__ import annotations

import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path

from exporter.collectors.nsq.protocol import MESSAGE, NsqConnection
from exporter.demo.programs import LOOPBACK, Program, find, free_ports
from exporter.model import CollectError, Until

TOPIC, RATE = "clicks", 40.0
"""Topic to messages produced per second."""
READERS = {"counting": 200.0, "fraud-check": 28.0}
"""Channel to messages per second that it can process."""
PATIENCE = 10.0


class EmbeddedNsq:
    """An nsqd that belongs to the demo."""

    name = "clicks"
    story = "a real nsqd: channel counting keeps up, channel fraud-check is too slow"

    def __init__(self) -> None:
        self._folder = Path()
        self._tcp, self._http = free_ports(2)
        self._program: Program | None = None
        self._stop = threading.Event()

    @staticmethod
    def found() -> bool:
        """Return whether nsqd is installed."""
        return find("nsqd") is not None

    def source(self) -> str:
        """Return the source's lines for a config."""
        return (
            f"  - {{name: {self.name}, system: nsq, nsqd: 'http://{LOOPBACK}:{self._http}', "
            "schedule: {backlog: 1s, discovery: 10s}, rate_window: 20s}\n"
        )

    def start(self, folder: Path) -> None:
        """Start the server with data in `folder`."""
        nsqd = find("nsqd")
        if nsqd is None:
            return
        self._folder = folder
        folder.mkdir()
        self._program = Program(
            [
                nsqd,
                f"--tcp-address={LOOPBACK}:{self._tcp}",
                f"--http-address={LOOPBACK}:{self._http}",
                f"--broadcast-address={LOOPBACK}",
                f"--data-path={self._folder}",
            ],
            self._folder / "log",
        )

    def answers(self) -> bool:
        """Return whether nsqd can be used."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self._http}/ping", timeout=PATIENCE):
                return True
        except OSError:
            return False

    def ended(self) -> str | None:
        """Return the last line of nsqd's log if nsqd has ended by itself."""
        return None if self._program is None else self._program.ended()

    def work(self) -> None:
        """Start the workload."""
        threading.Thread(target=self._produce, daemon=True).start()
        for channel, rate in READERS.items():
            threading.Thread(target=self._consume, args=(channel, rate), daemon=True).start()

    def stop(self) -> None:
        """Stop the server and the workload."""
        self._stop.set()
        if self._program is not None:
            self._program.end()

    def _produce(self) -> None:
        url = f"http://{LOOPBACK}:{self._http}/pub?topic={urllib.parse.quote(TOPIC)}"
        while not self._stop.wait(1.0 / RATE):
            try:
                with urllib.request.urlopen(url, random.randbytes(100), timeout=PATIENCE):  # noqa: S311 - our own server
                    pass
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                self._stop.wait(0.2)

    def _consume(self, channel: str, rate: float) -> None:
        while not self._stop.wait(0.2):
            try:
                self._read(channel, rate)
            except (OSError, CollectError):
                continue

    def _read(self, channel: str, rate: float) -> None:
        with closing(NsqConnection((LOOPBACK, self._tcp), Until(PATIENCE))) as connection:
            connection.subscribe(TOPIC, channel, Until(PATIENCE))
            due = time.monotonic()
            while not self._stop.is_set():
                frame = connection.frame(Until(1.0))
                if frame is None or frame.kind != MESSAGE:
                    continue
                due = max(due + 1.0 / rate, time.monotonic() - 1.0)
                self._stop.wait(max(due - time.monotonic(), 0.0))
                connection.finish(frame.data, Until(PATIENCE))
