"""`python -m bench`: measures the exporter on a real broker in a known state; prints a report."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.daemon import DaemonError
from bench.figures import is_right
from bench.generate import GenerateError, generate, remove
from bench.measure import Result, measure
from bench.report import Machine, as_json, machine_text, scale_text, targets_text
from bench.scales import SCALES, Scale
from bench.targets import outcomes
from testbed.kafka import KafkaCluster
from testbed.kafka_runtime import kafka_folder

RESULTS = Path(__file__).parent / "results"
BY_DEFAULT = ("S", "M", "W")
HEAP = "-Xmx2g"
FAILED = 1


def main() -> int:
    options = _parser().parse_args()
    names = list(SCALES) if options.scale == "all" else [options.scale]
    scales = [SCALES[name] for name in (BY_DEFAULT if options.scale is None else names)]
    version = kafka_folder().name.removeprefix("kafka-") if options.broker is None else "given"
    machine = Machine.here(version)
    print(machine_text(machine))
    folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-bench-"))
    results: dict[str, Result] = {}
    try:
        for scale in scales:
            results[scale.name] = result = _run(scale, options, folder)
            print(f"\n{scale_text(result)}", flush=True)
    except (DaemonError, GenerateError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return FAILED
    finally:
        if options.keep:
            print(f"configs and logs are in {folder}")
        else:
            shutil.rmtree(folder)
    found = outcomes(results)
    print(targets_text(found))
    file = options.json or RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(as_json(machine, results), indent=1) + "\n", encoding="utf-8")
    print(f"\ncomplete results: {file}")
    wrong = not all(map(is_right, results.values()))
    missed = not all(outcome.met for outcome in found)
    return FAILED if wrong or (options.strict and missed) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--scale", choices=[*SCALES, "all"], help="one scale (default: S, M and W; L takes long)"
    )
    parser.add_argument("--broker", metavar="ADDRESS", help="an existing, empty Kafka to use")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the exporter's configs and logs, and the data on the broker given with --broker",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the JSON results")
    parser.add_argument(
        "--strict", action="store_true", help="fail if a target for speed or memory is missed"
    )
    return parser


def _run(scale: Scale, options: argparse.Namespace, folder: Path) -> Result:
    with _broker(scale, options) as bootstrap:
        began = time.monotonic()
        generate(bootstrap, scale)
        print(f"{scale.name}: generated in {time.monotonic() - began:.1f} s", flush=True)
        return measure(bootstrap, scale, folder)


@contextlib.contextmanager
def _broker(scale: Scale, options: argparse.Namespace) -> Iterator[str]:
    """Yield an empty broker. A given one is emptied again."""
    if options.broker is None:
        with KafkaCluster(brokers=1, java_options={0: HEAP}) as cluster:
            yield cluster.bootstrap
        return
    try:
        yield options.broker
    finally:
        if not options.keep:
            remove(options.broker, scale)


if __name__ == "__main__":
    sys.exit(main())
