"""The commands. Each returns its exit code.

Each imports what it needs when it runs, so that the daemon does not load the libraries for the
terminal.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from exporter.load import Result
    from exporter.survey.lines import Line

MARKS = {
    "ok": ("ok", "green"),
    "missing": ("missing", "yellow"),
    "failed": ("missing", "red"),
    "note": ("note", ""),
    "warning": ("warning", "yellow"),
    "exclude": ("exclude", "bold"),
    "unknown": ("unknown", "bold"),
    "paste": ("paste", ""),
}
"""What `check` prints for the mark of a line, and its colour."""
WIDE = 120
"""Characters per line of a wide table."""
FAILED, MISUSED = 1, 2
"""Exit codes: a source or the address could not be used; the command or the config is invalid."""
INTERRUPTED = 128
"""Exit code of a command that was ended by a signal, minus the signal's number."""


def run(options: argparse.Namespace) -> int:
    """Run the daemon."""
    from exporter import logging_setup
    from exporter.collectors.process import allocator
    from exporter.config import load as load_config
    from exporter.daemon import Daemon
    from exporter.web.webconfig import load as load_web

    allocator.keep_little()
    config = load_config(options.config)
    logging_setup.configure(config.log.format, config.log.level)
    web = load_web(options.web) if options.web is not None else None
    daemon = Daemon(config, path=options.config, web=web)
    options.signals.deliver(stop=daemon.end, reload=daemon.want_reload)
    daemon.run()
    return 0


def once(options: argparse.Namespace) -> int:
    """Collect once and print the exposition."""
    from exporter import logging_setup
    from exporter.config import LogConfig
    from exporter.config import load as load_config
    from exporter.daemon import Daemon

    # Failures are printed below, so do not log them.
    quiet = LogConfig(format="console", level="error")
    logging_setup.configure(quiet.format, quiet.level)
    daemon = Daemon(load_config(options.config).model_copy(update={"log": quiet}))
    options.signals.deliver(stop=daemon.end)
    reached = daemon.run_once()
    if options.signals.received is not None:
        daemon.stop()
        print("interrupted: no metrics were printed", file=sys.stderr)
        return INTERRUPTED + int(options.signals.received)
    for chunk in daemon.exposition.response("", "").content():
        sys.stdout.buffer.write(chunk)
    sys.stdout.flush()
    daemon.stop()
    for source in daemon.sources.values():
        fault = source.status()
        if not fault["up"]:
            text = logging_setup.visible(
                f"{fault['source']}: {fault['reason']}: {fault['message']}"
            )
            print(text, file=sys.stderr)
    return 0 if reached else FAILED


def check(options: argparse.Namespace) -> int:
    """Validate a config and try the features of each source once."""
    from rich.console import Console

    from exporter import logging_setup
    from exporter.config import load as load_config
    from exporter.survey.report import Report

    config = load_config(options.config)
    logging_setup.configure("console", "error")
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{options.config}: the config is valid", markup=False)
    report = Report(config, options.idle_days)
    for line in report.lines():
        console.print(_line(line))
    return 0 if report.good else FAILED


def _line(line: Line) -> Text:
    from rich.text import Text

    from exporter.scrub import scrub
    from exporter.show.top import printable

    if not line.mark:
        before = "\n" if line.text.startswith("\n") else ""
        return Text(before + printable(scrub(line.text.removeprefix("\n"))))
    shown, style = MARKS[line.mark]
    return Text.assemble("  ", (f"{shown:<7}", style), f" {printable(scrub(line.text))}")


def health(options: argparse.Namespace) -> int:
    """Check whether a daemon is healthy."""
    import ssl
    import urllib.error
    import urllib.request

    from exporter.scrub import learn_url, scrub

    # The daemon is on this machine, so its certificate need not match the name.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    learn_url(options.url)
    address = options.url.rstrip("/") + "/-/healthy"
    try:
        with urllib.request.urlopen(address, timeout=3.0, context=context) as answer:  # noqa: S310
            print(answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        # The response says what is wrong.
        print(scrub(f"{address}: {error}\n{error.read().decode().strip()}"), file=sys.stderr)
        return FAILED
    except (OSError, ValueError) as error:
        print(scrub(f"{address}: {error}"), file=sys.stderr)
        return FAILED
    return 0


def demo(options: argparse.Namespace) -> int:
    """Run the demo."""
    # Imports and the start take a second or two, longer on a slow machine.
    print("Starting an embedded Kafka cluster and the exporter.", flush=True)
    from rich.console import Console

    from exporter.demo.run import run_demo

    return run_demo(
        options.signals, listen=options.listen, seconds=options.seconds, console=Console()
    )


def load(options: argparse.Namespace) -> int:
    """Run a workload on a broker."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from exporter.load import Load, LoadError, duration, parse_steps, workload_of
    from exporter.load.report import report
    from exporter.scrub import learn_url, scrub

    learn_url(options.address)
    text = options.steps
    try:
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        steps = parse_steps(text)
        retention = None if options.retention is None else duration(options.retention)
        workload = workload_of(
            options.system, options.address, options.destination, options.group, retention
        )
    except (ValueError, OSError, LoadError) as error:
        print(scrub(str(error)), file=sys.stderr)
        return MISUSED
    stop = threading.Event()
    options.signals.deliver(stop=stop.set)
    running = Load(workload)
    results = []

    def told(result: Result) -> None:
        results.append(result)
        if options.json:
            print(json.dumps({**asdict(result), "error_rate": result.error_rate}), flush=True)
        else:
            console.print(
                f"step {(len(results) - 1) % len(steps) + 1} of {len(steps)} finished", style="dim"
            )

    console = Console(stderr=True)
    try:
        running.run(steps, stop, told, repeat=options.repeat)
    except LoadError as error:
        print(scrub(str(error)), file=sys.stderr)
        return FAILED
    if not options.json:
        shown = Console()
        shown.width = max(shown.width, WIDE)
        shown.print(report(results))
    return 0


def scale(options: argparse.Namespace) -> int:
    """Follow the scaling advice of a daemon by running a command."""
    from exporter.scale.running import scale as run_scale

    return run_scale(options, options.signals.deliver)


def top(options: argparse.Namespace) -> int:
    """Show a live table."""
    from rich.console import Console

    from exporter import logging_setup
    from exporter.config import LogConfig
    from exporter.config import load as load_config
    from exporter.daemon import Daemon
    from exporter.scrub import learn_url, scrub
    from exporter.show.top import from_url, watch

    stop = threading.Event()
    options.signals.deliver(stop=stop.set)
    if options.config is None:
        learn_url(options.url)
        fetch, title = from_url(options.url), scrub(options.url)
        daemon = None
    else:
        config = load_config(options.config)
        logging_setup.configure("console", "error")
        daemon = Daemon(
            config.model_copy(update={"log": LogConfig(format="console", level="error")})
        )
        daemon.collect()
        fetch, title = daemon.overview, str(options.config)
    code = watch(
        fetch,
        title=title,
        interval=options.interval,
        stop=stop,
        console=Console(),
        polls=options.looks,
    )
    if daemon is not None:
        daemon.stop()
    return code
