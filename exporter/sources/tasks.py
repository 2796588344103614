"""The tasks of one source: some run on a schedule, some after another task."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.config import SourceConfig
from exporter.model import Collector, Observation, Until
from exporter.sources.schedule import Outcome, Runner, Task


class Tasks:
    """Runs a collector's tasks and records the results in `outcomes`."""

    def __init__(
        self,
        config: SourceConfig,
        collector: Collector,
        outcomes: Mapping[str, Outcome],
        *,
        accept: Callable[[Observation], None],
        after: Callable[[], None],
    ) -> None:
        """`outcomes` has an item for each task.

        `accept` is called with each observation, `after` after each run.
        """
        self._config = config
        self._collector = collector
        self._outcomes = outcomes
        self._accept = accept
        self._after = after
        self.runners = [
            Runner(self._task(name, run), outcomes[name], after)
            for name, run in collector.tasks.items()
        ]
        """One for each task, in the collector's order."""
        runners = {runner.task.name: runner for runner in self.runners}
        for follower, leader in collector.follows.items():
            runners[leader].leads(runners[follower])

    def start(self) -> None:
        """Start the tasks."""
        for runner in self.runners:
            runner.start()

    def run_once(self) -> None:
        """Run each task once, in the collector's order, and the backlog in any case.

        If a task cannot reach the source, the remaining ones are skipped: they would wait, too.
        """
        for runner in self.runners:
            runner.run_once()
            if not runner.outcome.reached and not runner.task.follows:
                break
        backlog = self._outcomes["backlog"]
        if not backlog.runs:
            fault = runner.outcome
            backlog.fail(fault.reason or "internal", fault.message)
            self._after()

    def stop(self) -> None:
        """Stop the tasks."""
        for runner in self.runners:
            runner.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the tasks to end and close the collector; return whether all ended in time."""
        until = Until(timeout)
        self._collector.close()
        late = [runner for runner in self.runners if not runner.join(until.remaining())]
        return not late

    def faults(self, now: float) -> dict[str, str]:
        """Return the task loops that are stuck, with what is wrong."""
        found = {runner.pulse.name: runner.fault(now) for runner in self.runners}
        return {name: fault for name, fault in found.items() if fault is not None}

    @property
    def tried(self) -> bool:
        """Whether each task that runs by the clock has run at least once."""
        follows = self._collector.follows
        return all(outcome.runs for name, outcome in self._outcomes.items() if name not in follows)

    def _task(self, name: str, run: Callable[..., Observation]) -> Task:
        config, collector = self._config, self._collector
        return Task(
            source=config.name,
            name=name,
            interval=getattr(config.schedule, name),
            deadline=config.deadline,
            run=run,
            accept=self._accept,
            due_early=lambda: collector.due_early(name),
            early_after=getattr(collector, "early_after", {}).get(name, 0.0),
            follows=name in collector.follows,
            grace=getattr(collector, "grace", 0.0),
        )
