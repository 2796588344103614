"""The commands and their options, with the help for each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from exporter import __version__, commands
from exporter.systems import with_workload

EXAMPLES = """\
examples:
  mq-lag-exporter demo                          try it with an embedded Kafka
  mq-lag-exporter check config.yaml             validate the config and test which features \
each source supports
  mq-lag-exporter run config.yaml               serve http://localhost:9877/metrics
  mq-lag-exporter once config.yaml              print the metrics once and exit
  mq-lag-exporter top http://localhost:9877     show the subscriptions of a running daemon
  mq-lag-exporter top --config config.yaml      show subscriptions without a daemon

minimal config:
  sources:
    - name: orders
      system: kafka
      bootstrap_servers: localhost:9092
"""

RUN_EXAMPLES = """\
examples:
  mq-lag-exporter run config.yaml
  mq-lag-exporter run --config config.yaml --web.config.file web.yaml    with TLS and passwords
"""
ONCE_EXAMPLES = """\
example:
  mq-lag-exporter once config.yaml | grep mq_lag_seconds
"""
CHECK_EXAMPLES = """\
examples:
  mq-lag-exporter check config.yaml
  mq-lag-exporter check config.yaml --idle-days 30    propose to exclude what is unread for 30 days
"""
HEALTH_EXAMPLES = """\
example:
  mq-lag-exporter health http://127.0.0.1:9877
"""
DEMO_EXAMPLES = """\
example:
  mq-lag-exporter demo --listen 127.0.0.1:9900 --seconds 60
"""
TOP_EXAMPLES = """\
keys:
  up, down, page up, page down, home, end    scroll (also k and j)
  /    filter: only rows that contain all the words; Enter keeps the filter, Esc removes it
  s    sort by the next column; r reverses the order, w is the worst first again
  q    quit

examples:
  mq-lag-exporter top http://localhost:9877
  mq-lag-exporter top --config config.yaml --interval 5
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
SCALE_EXAMPLES = """\
The command is split into words as a shell would, then {consumers}, {before}, {source}, {vhost},
{destination} and {group} are replaced in each word. No shell runs it. Write {{ and }} for braces.
It also gets MQ_CONSUMERS, MQ_BEFORE, MQ_REASON and other variables.

examples:
  mq-lag-exporter scale --source orders --group billing \
--exec "docker compose up -d --no-recreate --scale worker={consumers} worker"
  mq-lag-exporter scale --destination orders --dry-run --once --exec "nomad job scale orders \
worker {consumers}"
"""

MOST_DAYS = 36_500.0


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line. Exits with a message if it is wrong."""
    options = parser_of_commands().parse_args(arguments)
    if options.reads_config is not None:
        options.config = _config_of(options, options.reads_config)
    return options


def _config_of(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Path:
    """Return the config file, which is given with or without `--config`."""
    given = {path for path in (options.file, options.config) if path is not None}
    if not given:
        parser.error("the following arguments are required: FILE (the config)")
    if len(given) > 1:
        parser.error("FILE and --config name two different configs; give one of them")
    found: Path = given.pop()
    return found


def parser_of_commands() -> argparse.ArgumentParser:
    """Return the parser with all commands."""
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
    parser.set_defaults(terminal=True, signals=None, reads_config=None)
    added = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
        return added.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    _add_run(command("run", "run the daemon", RUN_EXAMPLES))
    once = command("once", "print the metrics once and exit", ONCE_EXAMPLES)
    _takes_config(once)
    once.set_defaults(command=commands.once, terminal=False, signals="stop")
    _add_check(command("check", "validate a config and test each source once", CHECK_EXAMPLES))
    health = command("health", "check whether a running daemon is healthy", HEALTH_EXAMPLES)
    _takes_url(health)
    health.set_defaults(command=commands.health)
    _add_demo(command("demo", "run against an embedded Kafka with a small workload", DEMO_EXAMPLES))
    _add_load(
        command("load", "generate load on a broker in steps and report latencies", LOAD_EXAMPLES)
    )
    _add_scale(
        command(
            "scale", "follow the scaling advice of a daemon by running a command", SCALE_EXAMPLES
        )
    )
    _add_top(command("top", "show a live table of subscriptions", TOP_EXAMPLES))
    return parser


def _takes_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the config file")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the config file, instead of the argument FILE"
    )
    parser.set_defaults(reads_config=parser)


def _takes_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url",
        nargs="?",
        default="http://127.0.0.1:9877",
        metavar="URL",
        help="address of the daemon (default: %(default)s)",
    )


def _add_run(run: argparse.ArgumentParser) -> None:
    _takes_config(run)
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


def _add_check(check: argparse.ArgumentParser) -> None:
    check.description = (
        "Validates a config and tests each source once. Shows how many names each pattern "
        "matches,\nand the lines that exclude groups and queues without consumers that have not "
        "moved for days."
    )
    _takes_config(check)
    check.add_argument(
        "--idle-days",
        type=_days,
        default=7.0,
        metavar="DAYS",
        help="propose to exclude what has not moved for longer than this (default: %(default)g)",
    )
    check.set_defaults(command=commands.check)


def _days(text: str) -> float:
    days = float(text)
    if not 0.0 < days <= MOST_DAYS:
        raise ValueError
    return days


_days.__name__ = "number of days"  # argparse shows it in its errors


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument(
        "--listen",
        default="127.0.0.1:9877",
        metavar="HOST:PORT",
        help="address of the demo's HTTP server (default: %(default)s)",
    )
    demo.add_argument("--seconds", type=float, help="exit after this time")
    demo.set_defaults(command=commands.demo, signals="stop")


def _add_load(load: argparse.ArgumentParser) -> None:
    load.description = (
        "Sends messages to one destination and consumes them. Each step sets the rate, size, "
        "consumers\nand failures."
    )
    load.add_argument("system", choices=with_workload(), help="kind of broker")
    load.add_argument(
        "address",
        metavar="ADDRESS",
        help="Kafka: HOST:PORT, RabbitMQ: amqp://…, NSQ: http://HOST:4151 of an nsqd",
    )
    load.add_argument(
        "--destination",
        default="load",
        metavar="NAME",
        help="topic or queue; it is created if it does not exist (default: %(default)s)",
    )
    load.add_argument(
        "--group",
        default="load-readers",
        metavar="NAME",
        help="consumer group or channel (default: %(default)s)",
    )
    load.add_argument(
        "--steps",
        default="rate=100 for=30s",
        help=(
            "steps separated by ';', or @FILE with one step per line; a key that is not set keeps "
            "the value of the previous step (default: %(default)s)"
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


def _add_scale(scale: argparse.ArgumentParser) -> None:
    scale.description = (
        "Follows the scaling advice of a running daemon for one subscription, and runs a command "
        "when the\nadvised number of consumers changes. Without valid advice, it changes nothing."
    )
    for name, what in (
        ("source", "source of the subscription"),
        ("vhost", "RabbitMQ vhost"),
        ("destination", "topic or queue"),
        ("group", "consumer group or channel; empty for a RabbitMQ queue"),
    ):
        scale.add_argument(f"--{name}", metavar="NAME", help=what)
    scale.add_argument(
        "--exec",
        dest="template",
        required=True,
        metavar="COMMAND",
        help="command that sets the number of consumers; contains {consumers}",
    )
    address = scale.add_mutually_exclusive_group()
    address.add_argument(
        "--url", metavar="URL", help="address of the daemon (default: http://127.0.0.1:9877)"
    )
    address.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="use the address in this config, of a daemon on this machine without TLS",
    )
    scale.add_argument("--user", metavar="NAME", help="user name for the daemon")
    scale.add_argument(
        "--password-file", type=Path, metavar="FILE", help="file with the password for the daemon"
    )
    scale.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificates that may have signed the one of the daemon, instead of the system's",
    )
    scale.add_argument(
        "--every",
        default="15s",
        metavar="TIME",
        help="time between two polls (default: %(default)s)",
    )
    scale.add_argument(
        "--timeout",
        default="60s",
        metavar="TIME",
        help="time for the command; then it is ended (default: %(default)s)",
    )
    scale.add_argument(
        "--initial",
        type=_count,
        metavar="N",
        help=(
            "number of consumers that is set already (default: unknown, so the command runs first "
            "unless the exporter sees the advised number)"
        ),
    )
    scale.add_argument(
        "--enforce",
        action="store_true",
        help="run the command again if another number of consumers runs for 10 minutes",
    )
    scale.add_argument(
        "--dry-run", action="store_true", help="log the commands instead of running them"
    )
    scale.add_argument("--once", action="store_true", help="decide once, then exit, as for cron")
    scale.add_argument(
        "--listen", metavar="HOST:PORT", help="serve /metrics and /-/healthy of this controller"
    )
    scale.add_argument(
        "--log-format",
        choices=("json", "console"),
        help="format of the log (default: that of the config, else json)",
    )
    scale.set_defaults(command=commands.scale, terminal=False, signals="stop")


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError
    return count


_count.__name__ = "number of consumers"


def _add_top(top: argparse.ArgumentParser) -> None:
    top.description = (
        "Shows a live table of subscriptions, the worst first. Keys scroll, filter and sort it; "
        "without a\nterminal, tables are printed one below the other."
    )
    _takes_url(top)
    top.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="collect from the sources of this config instead of from a daemon",
    )
    top.add_argument(
        "--interval",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="time between two refreshes (default: %(default)g)",
    )
    top.add_argument("--looks", type=int, metavar="N", help="refresh N times, then exit")
    top.set_defaults(command=commands.top, signals="stop")
