"""The results of a workload as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from exporter.load.steps import Step
from exporter.load.tally import Result
from exporter.show.wording import number

FOREIGN = "messages that this run did not send were consumed, too. No figure includes them."


def report(results: Sequence[Result]) -> Table:
    """Return a table with a row for each step.

    It has the step's settings, its rates and errors, and the latencies from sent to processed.
    """
    table = Table()
    table.add_column("step", no_wrap=True)
    for name in ("sent/s", "processed/s", "errors", "mean", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        seconds = max(result.seconds, 1e-9)
        latencies = (result.mean, result.p50, result.p95, result.p99, result.longest)
        table.add_row(
            _said(result.step),
            number(result.sent / seconds, 1),
            number(result.processed / seconds, 1),
            f"{result.error_rate:.1%}",
            *("-" if each is None else _time(each) for each in latencies),
        )
    foreign = sum(result.foreign for result in results)
    if foreign:
        table.caption = f"{number(foreign, 0)} {FOREIGN}"
    return table


def _said(step: Step) -> str:
    who = "1 consumer" if step.consumers == 1 else f"{step.consumers} consumers"
    takes = "" if step.takes is None else f" at {step.takes:g}/s"
    fails = f", {step.fails:.0%} fail" if step.fails else ""
    return f"{step.rate:g}/s of {step.size:,} B, {who}{takes}{fails}"


def _time(seconds: float) -> str:
    return f"{seconds * 1_000:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"
