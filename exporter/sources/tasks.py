"""The tasks of one source: each on its schedule, some behind others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exporter.config import SourceConfig
from exporter.model import Collector, Observation, Until
from exporter.sources.schedule import Outcome, Runner, Task


class Tasks:
    """Runs a collector's tasks, and notes in `outcomes` how they went."""

    def __init__(
        self,
        config: SourceConfig,
        collector: Collector,
        outcomes: Mapping[str, Outcome],
        *,
        accept: Callable[[Observation], None],
        after: Callable[[], None],
    ) -> None:
        """`outcomes` has an item for each task. `accept` takes what was observed; `after` is called behind each run."""
        self._config = config
        self._collector = collector
        self._outcomes = outcomes
        self._accept = accept
        self._after = after
        self.runners = [
            Runner(self._task(name, run), outcomes[name], after)
            for name, run in collector.tasks.items()
        ]
        """One a task, in the order in which the collector names them."""
        runners = {runner.task.name: runner for runner in self.runners}
        for follower, leader in collector.follows.items():
            runners[leader].leads(runners[follower])

    def start(self) -> None:
        """Run the tasks from now on."""
        for runner in self.runners:
            runner.start()

    def run_once(self) -> None:
        """Run each task once, in the order in which the collector names them, the backlog in any case.

        Where one can't reach the source, the others would only wait for the same.
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
        """Ask the tasks to end."""
        for runner in self.runners:
            runner.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the tasks' end and let go of the collector; tell whether all ended in time."""
        until = Until(timeout)
        self._collector.close()
        late = [runner for runner in self.runners if not runner.join(until.remaining())]
        return not late

    def faults(self, now: float) -> dict[str, str]:
        """Return which of the tasks' loops do not go on, and what is wrong with them."""
        found = {runner.pulse.name: runner.fault(now) for runner in self.runners}
        return {name: fault for name, fault in found.items() if fault is not None}

    @property
    def tried(self) -> bool:
        """Whether each task that goes by the clock has run once."""
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
