"""The command: run, once, check, health, demo, load, top.

Each command imports what it needs when it runs: a daemon should not carry the libraries of a terminal.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from exporter import __version__
from exporter.systems import SYSTEMS

if TYPE_CHECKING:
    from rich.text import Text

    from exporter.load import Result
    from exporter.model import Finding

WIDE = 120
"""Characters of a table that has to be wide."""
FAILED, MISUSED = 1, 2
"""Exit codes: a source or the address could not be used; the command line or the config is invalid."""
INTERRUPTED = 128
"""Exit code of a command that a signal interrupted, minus the signal number."""

EXAMPLES = """\
examples:
  mq-lag-exporter demo                          try it with an embedded Kafka
  mq-lag-exporter check config.yaml             validate the config and test which features each source supports
  mq-lag-exporter run --config config.yaml      serve http://localhost:9877/metrics
  mq-lag-exporter once --config config.yaml     print the metrics once and exit
  mq-lag-exporter top http://localhost:9877     show the subscriptions of a running daemon
  mq-lag-exporter top --config config.yaml      show subscriptions without a daemon

minimal config:
  sources:
    - name: orders
      system: kafka
      bootstrap_servers: localhost:9092
"""


LOAD_EXAMPLES = """\
keys of a step:
  rate=NUMBER       messages sent per second
  for=DURATION      duration of the step, for example 30s
  size=SIZE         message size, for example 100B or 10kB
  consumers=NUMBER  number of consumers
  takes=NUMBER      messages per second that each consumer can process, or all for no limit
  fails=PERCENT     share of the deliveries that consumers reject, for example 5%

examples:
  mq-lag-exporter load kafka localhost:9092 --steps "rate=100 for=30s; rate=1000; rate=100"
  mq-lag-exporter load rabbitmq amqp://guest:guest@localhost:5672 --steps "rate=200 takes=50 consumers=4 for=1m; consumers=1"
  mq-lag-exporter load nsq http://localhost:4151 --steps "rate=500 size=10kB fails=5% for=2m" --json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    # A SIGHUP ends a process that has no handler yet; it waits until there is one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    options = _parser().parse_args(arguments)
    if not options.terminal:
        # structlog loads rich where it finds it, for tracebacks that are not wanted here: 12 MB in a daemon.
        sys.modules["rich"] = None  # type: ignore[assignment]
    from exporter import logging_setup, signals
    from exporter.scrub import guard_tracebacks

    guard_tracebacks()
    logging_setup.keep_streams()
    if options.signals is not None:
        options.signals = signals.Signals(reloads=options.signals == "reload")
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = _code(options)
    if options.signals is not None:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the process now: a broker that hangs may keep a thread of a client, and a signal cuts nothing short any more."""
    from exporter import logging_setup

    logging_setup.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or FAILED
    os._exit(code)


def _code(options: argparse.Namespace) -> int:
    """Run the command; returns its exit code."""
    from exporter.config import ConfigError
    from exporter.scrub import scrub
    from exporter.task_log import EXHAUSTION, is_exhaustion
    from exporter.web.server import ServerError
    from exporter.web.webconfig import WebConfigError

    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except (ConfigError, WebConfigError) as error:
        print(scrub(str(error)), file=sys.stderr)
        return MISUSED
    except ServerError as error:
        print(scrub(str(error)), file=sys.stderr)
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        print(EXHAUSTION, file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + 2  # SIGINT
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mq-lag-exporter",
        description="Consumer lag, latency and rates of Kafka, RabbitMQ and NSQ as Prometheus metrics.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mq-lag-exporter {__version__}")
    # Whether the command handles signals itself, and what SIGHUP means to it: "stop" or "reload".
    parser.set_defaults(terminal=True, signals=None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the daemon")
    run.add_argument("--config", type=Path, required=True, metavar="FILE")
    run.add_argument(
        "--web.config.file",
        dest="web",
        type=Path,
        metavar="FILE",
        help="web config file (TLS, basic authentication) in the format of the Prometheus exporters",
    )
    run.set_defaults(command=_run, terminal=False, signals="reload")

    once = commands.add_parser("once", help="print the metrics once and exit")
    once.add_argument("--config", type=Path, required=True, metavar="FILE")
    once.set_defaults(command=_once, terminal=False, signals="stop")

    check = commands.add_parser("check", help="validate a config and test each source once")
    check.add_argument("config", type=Path, metavar="FILE")
    check.set_defaults(command=_check)

    health = commands.add_parser("health", help="check whether a running daemon is healthy")
    health.add_argument("url", nargs="?", default="http://127.0.0.1:9877", metavar="URL")
    health.set_defaults(command=_health)

    demo = commands.add_parser("demo", help="run against an embedded Kafka with a small workload")
    demo.add_argument("--listen", default="127.0.0.1:9877", metavar="HOST:PORT")
    demo.add_argument("--seconds", type=float, help="exit after this time")
    demo.set_defaults(command=_demo, signals="stop")

    load = commands.add_parser(
        "load",
        help="generate load on a broker in steps and report latencies",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Sends messages to one destination and consumes them. Each step sets the rate, size, consumers and failures.",
        epilog=LOAD_EXAMPLES,
    )
    load.add_argument(
        "system", choices=[name for name, system in SYSTEMS.items() if system.workload]
    )
    load.add_argument(
        "address",
        metavar="ADDRESS",
        help="Kafka: HOST:PORT, RabbitMQ: amqp://…, NSQ: http://HOST:4151 of an nsqd",
    )
    load.add_argument(
        "--destination",
        default="load",
        metavar="NAME",
        help="topic or queue; it is created if it does not exist",
    )
    load.add_argument(
        "--group", default="load-readers", metavar="NAME", help="consumer group or channel"
    )
    load.add_argument(
        "--steps",
        default="rate=100 for=30s",
        help="steps separated by ';', or @FILE with one step per line; a key that is not set keeps the value of the previous step",
    )
    load.add_argument("--repeat", action="store_true", help="repeat the steps until Ctrl-C")
    load.add_argument(
        "--retention",
        metavar="TIME",
        help="retention time of the Kafka topic if it is created, for example 10m",
    )
    load.add_argument("--json", action="store_true", help="print one line of JSON per step")
    load.set_defaults(command=_load, signals="stop")

    top = commands.add_parser("top", help="show a live table of subscriptions")
    top.add_argument("url", nargs="?", default="http://127.0.0.1:9877", metavar="URL")
    top.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="collect from the sources of this config instead of from a daemon",
    )
    top.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")
    top.add_argument("--looks", type=int, metavar="N", help="refresh N times, then exit")
    top.set_defaults(command=_top, signals="stop")
    return parser


def _run(options: argparse.Namespace) -> int:
    from exporter import logging_setup
    from exporter.collectors.process import allocator
    from exporter.config import load
    from exporter.daemon import Daemon
    from exporter.web.webconfig import load as load_web

    allocator.keep_little()
    config = load(options.config)
    logging_setup.configure(config.log.format, config.log.level)
    web = load_web(options.web) if options.web is not None else None
    daemon = Daemon(config, path=options.config, web=web)
    options.signals.deliver(stop=daemon.end, reload=daemon.want_reload)
    daemon.run()
    return 0


def _once(options: argparse.Namespace) -> int:
    from exporter import logging_setup
    from exporter.config import Log, load
    from exporter.daemon import Daemon

    # Failures are printed once, below, and not logged as well.
    quiet = Log(format="console", level="error")
    logging_setup.configure(quiet.format, quiet.level)
    daemon = Daemon(load(options.config).model_copy(update={"log": quiet}))
    options.signals.deliver(stop=daemon.end)
    reached = daemon.run_once()
    if options.signals.received is not None:
        daemon.stop()
        print("interrupted: no metrics were printed", file=sys.stderr)
        return INTERRUPTED + int(options.signals.received)
    for chunk in daemon.exposition.page("", "").chunks:
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


def _check(options: argparse.Namespace) -> int:
    from rich.console import Console

    from exporter import logging_setup
    from exporter.config import Log, load
    from exporter.daemon import collectors
    from exporter.model import CollectError, Finding, Until
    from exporter.show.top import printable
    from exporter.sources.thresholds import idle_thresholds

    config = load(options.config)
    logging_setup.configure("console", "error")
    console = Console(soft_wrap=True)
    console.print(f"{options.config}: the config is valid", markup=False)
    for note in idle_thresholds(config):
        console.print(f"  note    {printable(note)}", markup=False)
    good = True
    make = collectors(Log(format="console", level="error"))
    for source in config.sources:
        console.print(f"\n{printable(source.name)} ({source.system})", markup=False)
        collector = make(source)
        try:
            findings = collector.check(Until(source.deadline))
        except CollectError as error:
            findings = [Finding("connection", ok=False, detail=str(error), required=True)]
        finally:
            collector.close()
        good &= all(finding.ok for finding in findings if finding.required)
        for finding in findings:
            console.print(_line(finding))
    return 0 if good else FAILED


def _line(finding: Finding) -> Text:
    from rich.text import Text

    from exporter.scrub import scrub
    from exporter.show.top import printable

    mark, style = (
        ("ok     ", "green") if finding.ok else ("missing", "red" if finding.required else "yellow")
    )
    return Text.assemble(
        "  ", (mark, style), f" {finding.feature}: {printable(scrub(finding.detail))}"
    )


def _health(options: argparse.Namespace) -> int:
    import ssl
    import urllib.error
    import urllib.request

    from exporter.scrub import learn_url, scrub

    # It asks the daemon beside it, whose certificate is made out to another name.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    learn_url(options.url)
    address = options.url.rstrip("/") + "/-/healthy"
    try:
        with urllib.request.urlopen(address, timeout=3.0, context=context) as answer:  # noqa: S310
            print(answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        # The answer says what is wrong.
        print(scrub(f"{address}: {error}\n{error.read().decode().strip()}"), file=sys.stderr)
        return FAILED
    except (OSError, ValueError) as error:
        print(scrub(f"{address}: {error}"), file=sys.stderr)
        return FAILED
    return 0


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from exporter.demo.run import run_demo

    return run_demo(
        options.signals, listen=options.listen, seconds=options.seconds, console=Console()
    )


def _load(options: argparse.Namespace) -> int:
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
    load = Load(workload)
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
        load.run(steps, stop, told, repeat=options.repeat)
    except LoadError as error:
        print(scrub(str(error)), file=sys.stderr)
        return FAILED
    if not options.json:
        shown = Console()
        shown.width = max(shown.width, WIDE)
        shown.print(report(results))
    return 0


def _top(options: argparse.Namespace) -> int:
    from rich.console import Console

    from exporter import logging_setup
    from exporter.config import Log, load
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
        config = load(options.config)
        logging_setup.configure("console", "error")
        daemon = Daemon(config.model_copy(update={"log": Log(format="console", level="error")}))
        daemon.collect()
        fetch, title = daemon.overview, str(options.config)
    code = watch(
        fetch,
        title=title,
        interval=options.interval,
        stop=stop,
        console=Console(),
        looks=options.looks,
    )
    if daemon is not None:
        daemon.stop()
    return code
