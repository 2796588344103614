"""Logs what the controller does and why: each change of its state once, not each poll.

Time is an argument, in seconds of the monotonic clock.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import structlog

from exporter.scale.advice import Missing, ValidAdvice
from exporter.scale.command import CommandOutcome
from exporter.scale.decision import Run, Stay
from exporter.scaling.board import SubscriptionName
from exporter.task_log import gist


class ScaleLog:
    """The log of one controller."""

    def __init__(self) -> None:
        self._log: Any = structlog.get_logger(__name__)
        self._missing_since: float | None = None
        self._kind: str | None = None
        self._said: set[str] = set()
        """The gists of the reasons that were logged since advice is missing."""
        self._held: str | None = None
        self._differs = False

    def found(self, place: SubscriptionName) -> None:
        """Note the names of the subscription, which every later event has."""
        names = {label: name for label, name in place._asdict().items() if name is not None}
        self._log = self._log.bind(**names)

    def missing(self, missing: Missing, now: float) -> None:
        """Note that a poll returned no valid advice."""
        if self._missing_since is None:
            self._missing_since = now
        what = f"{missing.kind} {gist(missing.reason)}"
        if what in self._said:
            return
        self._said.add(what)
        if missing.kind == "unreachable":
            self._log.warning("scale.unreachable", reason=missing.reason)
        else:
            self._log.warning("scale.blind", reason=missing.reason)

    def advised(self, advice: ValidAdvice, now: float) -> None:
        """Note valid advice."""
        if self._missing_since is not None:
            seconds = round(now - self._missing_since, 1)
            self._log.info("scale.sees_again", seconds=seconds, reason=advice.reason)
            self._missing_since, self._said = None, set()
        if advice.held != self._held:
            if advice.held is None:
                self._log.info("scale.released", was_held=self._held, reason=advice.reason)
            else:
                self._log.info("scale.held", held=advice.held, reason=advice.reason)
            self._held = advice.held

    def stays(self, stay: Stay, advice: ValidAdvice) -> None:
        """Note a decision to run nothing."""
        if stay.why == "adopted":
            self._log.info("scale.adopted", consumers=advice.desired, reason=advice.reason)
        elif stay.why == "differs" and not self._differs:
            self._differs = True
            self._log.warning(
                "scale.differs",
                consumers=advice.desired,
                present=advice.present,
                reason="the number of consumers is not the one that was set; --enforce sets it",
            )
        elif stay.why == "agrees" and self._differs:
            self._differs = False
            self._log.info("scale.agrees", consumers=advice.desired)

    def would_run(self, run: Run, words: Sequence[str], advice: ValidAdvice) -> None:
        """Note a command that a dry run leaves out."""
        self._log.info("scale.would_run", **_fields(run, words, advice))

    def ended(
        self,
        run: Run,
        words: Sequence[str],
        advice: ValidAdvice,
        outcome: CommandOutcome,
        retry: float,
    ) -> None:
        """Note how a command ended; a failed one is tried again after `retry` seconds."""
        self._differs = False
        fields = _fields(run, words, advice) | {"seconds": round(outcome.seconds, 3)}
        if outcome.result == "success":
            self._log.info("scale.applied", **fields)
            return
        fields |= {"code": outcome.code, "output": outcome.output}
        if outcome.result == "stopped":
            self._log.warning("scale.interrupted", **fields)
        else:
            self._log.warning(
                "scale.failed", **fields, result=outcome.result, retry_seconds=round(retry, 1)
            )


def _fields(run: Run, words: Sequence[str], advice: ValidAdvice) -> dict[str, Any]:
    return {
        "consumers": run.consumers,
        "before": run.before,
        "cause": run.cause,
        "reason": advice.reason,
        "command": shlex.join(words),
    }
