"""The command line: options, signals and exit codes. `commands.py` has what each command does."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from exporter import __version__, commands
from exporter.commands import FAILED, INTERRUPTED, MISUSED
from exporter.systems import with_workload

EXAMPLES = """\
examples:
  mq-lag-exporter demo                          try it with an embedded Kafka
  mq-lag-exporter check config.yaml             validate the config and test which features \
each source supports
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
  mq-lag-exporter load rabbitmq amqp://guest:guest@localhost:5672 \
--steps "rate=200 takes=50 consumers=4 for=1m; consumers=1"
  mq-lag-exporter load nsq http://localhost:4151 --steps "rate=500 size=10kB fails=5% for=2m" --json
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    # A SIGHUP would end a process without a handler. Keep it blocked until there is one.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    options = _parser().parse_args(arguments)
    if not options.terminal:
        # structlog imports rich if it is installed, for tracebacks that are not used here: 12 MB in
        # a daemon.
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
    """Exit at once, because a client's thread may hang with its broker.

    Signals cannot interrupt the last steps any more.
    """
    from exporter import logging_setup

    logging_setup.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or FAILED
    os._exit(code)


def _code(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
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
        # The reader of the output has closed it, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + 2  # SIGINT
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mq-lag-exporter",
        description=(
            "Consumer lag, latency and rates of Kafka, RabbitMQ and NSQ as Prometheus metrics."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mq-lag-exporter {__version__}")
    # Whether the command uses the terminal, and what SIGHUP means: "stop", "reload", or None for
    # the default.
    parser.set_defaults(terminal=True, signals=None)
    added = parser.add_subparsers(required=True, metavar="COMMAND")

    run = added.add_parser("run", help="run the daemon")
    run.add_argument("--config", type=Path, required=True, metavar="FILE")
    run.add_argument(
        "--web.config.file",
        dest="web",
        type=Path,
        metavar="FILE",
        help=(
            "web config file (TLS, basic authentication) in the format of the Prometheus exporters"
        ),
    )
    run.set_defaults(command=commands.run, terminal=False, signals="reload")

    once = added.add_parser("once", help="print the metrics once and exit")
    once.add_argument("--config", type=Path, required=True, metavar="FILE")
    once.set_defaults(command=commands.once, terminal=False, signals="stop")

    check = added.add_parser("check", help="validate a config and test each source once")
    check.add_argument("config", type=Path, metavar="FILE")
    check.set_defaults(command=commands.check)

    health = added.add_parser("health", help="check whether a running daemon is healthy")
    health.add_argument("url", nargs="?", default="http://127.0.0.1:9877", metavar="URL")
    health.set_defaults(command=commands.health)

    demo = added.add_parser("demo", help="run against an embedded Kafka with a small workload")
    demo.add_argument("--listen", default="127.0.0.1:9877", metavar="HOST:PORT")
    demo.add_argument("--seconds", type=float, help="exit after this time")
    demo.set_defaults(command=commands.demo, signals="stop")

    load = added.add_parser(
        "load",
        help="generate load on a broker in steps and report latencies",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Sends messages to one destination and consumes them. Each step sets the rate, size, "
            "consumers and failures."
        ),
        epilog=LOAD_EXAMPLES,
    )
    load.add_argument("system", choices=with_workload())
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
        help=(
            "steps separated by ';', or @FILE with one step per line; a key that is not set keeps "
            "the value of the previous step"
        ),
    )
    load.add_argument("--repeat", action="store_true", help="repeat the steps until Ctrl-C")
    load.add_argument(
        "--retention",
        metavar="TIME",
        help="retention time of the Kafka topic if it is created, for example 10m",
    )
    load.add_argument("--json", action="store_true", help="print one line of JSON per step")
    load.set_defaults(command=commands.load, signals="stop")

    top = added.add_parser("top", help="show a live table of subscriptions")
    top.add_argument("url", nargs="?", default="http://127.0.0.1:9877", metavar="URL")
    top.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="collect from the sources of this config instead of from a daemon",
    )
    top.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")
    top.add_argument("--looks", type=int, metavar="N", help="refresh N times, then exit")
    top.set_defaults(command=commands.top, signals="stop")
    return parser
