"""What the scaling advice of all sources shares: policies, queries, state file, board."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from exporter.analysis.scaling import Scaling
from exporter.config import Config, SourceConfig
from exporter.liveness import Pulse
from exporter.scaling.advisor import Memory
from exporter.scaling.board import AdviceBoard, SubscriptionName
from exporter.sources.scaling_inputs import ScalingInputs
from exporter.sources.scaling_memory import fresh, load_memories, save_memories
from exporter.sources.scaling_policies import policy_table, questions
from exporter.sources.source import Source

TICK = 0.5
SAVE_SECONDS = 60.0
"""Time between two savings of the state file."""
LOOP_SECONDS = 120.0
"""A round that takes longer is stuck."""


class ScalingKeeper:
    """Runs in its own thread if anything is advised: queries are slow, and so may be a disk."""

    def __init__(self, config: Config, sources: Callable[[], Sequence[Source]]) -> None:
        self.board = AdviceBoard()
        self.policies = policy_table(config)
        self.pulse = Pulse("the loop of the scaling inputs")
        self._sources = sources
        self._path: Path | None = config.scaling_state
        self._inputs = ScalingInputs(questions(config))
        self._memories: dict[SubscriptionName, Memory] = {}
        """What was learned, also of subscriptions that are gone. The advice of the sources reads
        it, so it is changed in place.
        """
        self._remembered = time.monotonic()
        self._saving = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._saved = time.monotonic()
        self._unsaved = False
        self._log = structlog.get_logger(__name__)
        if self.policies:
            self._load()

    def scaling_of(self, source: SourceConfig) -> Scaling:
        """Return what advises on the subscriptions of a source."""
        return Scaling(source.system, source.name, self.policies, self._read_input, self._memories)

    def start(self) -> None:
        """Start the thread, unless it runs or nothing is advised."""
        if self.policies and self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="scaling", daemon=True)
            self._thread.start()

    def configure(self, config: Config) -> None:
        """Use another config. Call it before sources are replaced, so that they forget nothing."""
        self.policies = policy_table(config)
        self._path = config.scaling_state
        if self.policies and self._thread is None:
            self._load()
        self._remember()
        before, inputs = self._inputs, ScalingInputs(questions(config))
        inputs.follow(before)
        self._inputs = inputs
        before.close()

    def stop(self) -> None:
        """End the thread and save. Nothing is saved if it never started, as with `once`."""
        self._over.set()
        if self.policies and self._thread is not None:
            self._save()

    @property
    def failures(self) -> dict[str, int]:
        """Failed queries, by reason."""
        return dict(self._inputs.failures)

    @property
    def pulses(self) -> list[Pulse]:
        """The heartbeat of the thread, if it runs."""
        return [] if self._thread is None else [self.pulse]

    def _read_input(self, key: object) -> float | None:
        return self._inputs.read(key)

    def _loop(self) -> None:
        while not self._over.is_set():
            self._beat()
            try:
                self._inputs.run_due(self._beat)
                self._beat()
                if time.monotonic() - self._saved >= SAVE_SECONDS:
                    self._save()
            except Exception:  # noqa: BLE001 - the advice must not end with one fault
                self._log.exception("scaling.loop_failed")
            self._over.wait(TICK)
        self.pulse.end()

    def _beat(self) -> None:
        self.pulse.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            self._memories |= load_memories(self._path, time.time())
        except ValueError as error:
            self._log.warning("scaling.state_unusable", path=str(self._path), error=str(error))

    def _remember(self) -> None:
        """Note what was learned until now, and forget what is gone for too long."""
        before, self._remembered = self._remembered, time.monotonic()
        passed = self._remembered - before
        found = {place: each.later(passed) for place, each in self._memories.copy().items()}
        for source in self._sources():
            found.update(source.memories(self._remembered))
        kept = fresh(found)
        self._memories.update(kept)
        for place in found.keys() - kept.keys():
            self._memories.pop(place, None)

    def _save(self) -> None:
        """Write the state file. A failure is logged once."""
        with self._saving:
            self._saved = time.monotonic()
            self._remember()
            if self._path is not None and self._memories:
                self._write(self._path)

    def _write(self, path: Path) -> None:
        try:
            save_memories(path, self._memories.copy(), time.time())
        except OSError as error:
            if not self._unsaved:
                self._unsaved = True
                reason = error.strerror or str(error)
                self._log.warning("scaling.state_not_saved", path=str(path), error=reason)
            return
        if self._unsaved:
            self._unsaved = False
            self._log.info("scaling.state_saved_again", path=str(path))
