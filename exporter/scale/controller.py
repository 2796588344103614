"""The loop: asks for the advice, decides, runs the command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from exporter.liveness import Pulse
from exporter.scale import command
from exporter.scale.advice import Missing, Poll, ValidAdvice
from exporter.scale.command import CommandOutcome
from exporter.scale.decision import Run, State, decide, finished
from exporter.scale.metrics import ScaleMetrics
from exporter.scale.scale_log import ScaleLog
from exporter.scale.template import Template, values_of, variables_of
from exporter.scaling.board import SubscriptionName

UNREACHABLE_MOST = 60.0
"""Longest pause in seconds after requests without an answer, unless polls are further apart."""
SLACK_SECONDS = 60.0
"""A round that takes this much longer than planned counts as stuck."""

RunCommand = Callable[[list[str], Mapping[str, str], float, threading.Event], CommandOutcome]


class Advised(Protocol):
    """The subscription that is followed."""

    place: SubscriptionName | None

    def poll(self) -> Poll:
        """Return the present advice. Raises `SelectionError`."""
        ...


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What the user wants."""

    template: Template
    every: float = 15.0
    """Seconds between two polls."""
    timeout: float = 60.0
    """Seconds that the command may take."""
    dry_run: bool = False
    enforce: bool = False
    """Whether to run the command again if the number of consumers stays different."""
    initial: int | None = None
    """The number of consumers that is set already; None if unknown."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The environment of the command, to which the variables are added."""


class Controller:
    """Follows the advice for one subscription."""

    def __init__(
        self,
        subscription: Advised,
        settings: ControllerSettings,
        stop: threading.Event,
        *,
        run_command: RunCommand = command.run,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stop` ends `follow` and a running command. `clock` never goes back."""
        self.metrics = ScaleMetrics()
        self.pulse = Pulse("the controller")
        self.state = State(applied=settings.initial)
        self._subscription = subscription
        self._settings = settings
        self._stop = stop
        self._run_command = run_command
        self._clock = clock
        self._log = ScaleLog()
        self._unreachable = 0
        """Number of polls without an answer since the last one."""
        self._is_found = False
        self.metrics.applied(settings.initial)

    def follow(self) -> None:
        """Follow the advice until `stop` is set. Raises `SelectionError`."""
        while not self._stop.is_set():
            within = self._settings.timeout + SLACK_SECONDS
            self.pulse.beat(time.monotonic(), within, threading.current_thread())
            began = self._clock()
            self.step()
            pause = max(began + self.pause() - self._clock(), 0.0)
            self.pulse.beat(time.monotonic(), pause + within)
            self._stop.wait(pause)
        self.pulse.end()

    def pause(self) -> float:
        """Return the seconds to the next poll, from the last one on."""
        every = self._settings.every
        if self._unreachable:
            longest = max(every, UNREACHABLE_MOST)
            return float(min(every * 2.0 ** min(self._unreachable - 1, 30), longest))
        # A retry is not late by most of a long interval.
        until_retry = self.state.retry_at - self._clock()
        return min(until_retry, every) if until_retry > 0 else every

    def step(self) -> bool:
        """Poll once and do what is needed. Raises `SelectionError`.

        Returns whether there was valid advice and the command, if it was needed, succeeded.
        """
        poll = self._subscription.poll()
        if self._stop.is_set():
            return False
        self._note(poll)
        now = self._clock()
        advice = poll if isinstance(poll, ValidAdvice) else None
        decision, self.state = decide(self.state, advice, now, enforce=self._settings.enforce)
        self.metrics.applied(self.state.applied)
        if advice is None:
            return False
        if isinstance(decision, Run):
            return self._run(decision, advice)
        if not self._settings.dry_run or decision.why == "adopted":
            self._log.stays(decision, advice)
        return True

    def _note(self, poll: Poll) -> None:
        place = self._subscription.place
        if place is not None and not self._is_found:
            self._is_found = True
            self.metrics.found(place)
            self._log.found(place)
        now = self._clock()
        if isinstance(poll, Missing):
            self._unreachable = self._unreachable + 1 if poll.kind == "unreachable" else 0
            self._log.missing(poll, now)
            self.metrics.polled(None)
            return
        self._unreachable = 0
        self._log.advised(poll, now)
        self.metrics.polled(poll)

    def _run(self, run: Run, advice: ValidAdvice) -> bool:
        place = self._subscription.place
        if place is None:
            raise ValueError("advice without a subscription")
        values = values_of(place, run.consumers, run.before)
        words = self._settings.template.fill(values)
        if self._settings.dry_run:
            if run.cause != "enforced":
                self._log.would_run(run, words, advice)
            self._finish(run, succeeded=True)
            return True
        environ = {**self._settings.environ, **variables_of(values, advice)}
        outcome = self._run_command(words, environ, self._settings.timeout, self._stop)
        self.metrics.ended(outcome.result)
        if outcome.result != "stopped":
            self._finish(run, succeeded=outcome.result == "success")
        retry = max(self.state.retry_at - self._clock(), 0.0)
        self._log.ended(run, words, advice, outcome, retry)
        return outcome.result == "success"

    def _finish(self, run: Run, *, succeeded: bool) -> None:
        self.state = finished(self.state, run.consumers, succeeded=succeeded, now=self._clock())
        self.metrics.applied(self.state.applied)
