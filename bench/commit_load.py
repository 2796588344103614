"""`python -m bench.commit_load`: a million commits as fast as the broker takes them.

The exporter reads them from `__consumer_offsets`, in the default configuration. Then it is stopped
for a minute (SIGSTOP) while commits go on. Each page is compared with what the groups committed.
Exits with 1 if a lag was wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.as_shipped import CYCLE
from bench.daemon import Daemon
from bench.processes import cpu_between, cpu_seconds, memory
from bench.scales import Scale
from testbed.committing import Committing, read_since, wrong_lags
from testbed.exporter import Scrape
from testbed.kafka import KafkaCluster
from testbed.kafka_data import create_topic, produce
from testbed.waiting import wait_until

SOURCE = "bench"
TOPIC, PARTITIONS, GROUPS = "bench-commits", 100, 4
PAUSED_SECONDS = 60.0
SCRAPE_SECONDS = 0.5
LONGEST = 600.0
"""Seconds after which it gives up."""
SLOW = 0.02
"""Seconds between the commits of a group in the second part: 20,000 records a second in all."""


class Watch:
    """Scrapes again and again; keeps the times that it took, and all wrong lags."""

    def __init__(self, daemon: Daemon, groups: list[Committing], messages: int) -> None:
        self._daemon, self._groups, self._messages = daemon, groups, messages
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self.pages = 0

    def look(self) -> Scrape:
        seconds = self._daemon.scrape("gzip text").seconds
        page = Scrape(self._daemon.exposition().decode(), text=True)
        self.seconds.append(seconds)
        self.wrong += wrong_lags(page, SOURCE, self._groups, self._messages, time.time())
        self.pages += 1
        time.sleep(SCRAPE_SECONDS)
        return page


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.commit_load", description=__doc__)
    parser.add_argument("--commits", type=int, default=1_000_000, help="of the first part")
    options = parser.parse_args()
    rounds = options.commits // (PARTITIONS * GROUPS)
    messages = rounds + round(3 * PAUSED_SECONDS / SLOW)
    scale = Scale("commits", 1, PARTITIONS, GROUPS, 1, CYCLE)
    folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-bench-"))
    with ExitStack() as stack:
        cluster = stack.enter_context(KafkaCluster(brokers=1, java_options={0: "-Xmx1g"}))
        servers = cluster.bootstrap
        create_topic(servers, TOPIC, PARTITIONS, 1)
        for partition in range(PARTITIONS):
            produce(servers, TOPIC, partition, messages)
        groups = [
            stack.enter_context(Committing(servers, f"group-{n}", TOPIC, PARTITIONS, messages))
            for n in range(GROUPS)
        ]
        for group in groups:
            group.pause_seconds = 1.0
        wait_until(lambda: all(group.committed for group in groups), "the first commits")
        daemon = stack.enter_context(Daemon(servers, scale, CYCLE, folder, as_shipped="stream"))
        _wait_for_stream(daemon)
        before_mb = memory(daemon.pid).proportional_mb
        watch = Watch(daemon, groups, messages)

        began, cpu = time.monotonic(), cpu_seconds(daemon.pid)
        first = groups[0].committed
        for group in groups:
            group.pause_seconds = 0.0
        wait_until(
            lambda: watch.look() and groups[0].committed >= first + rounds, "the commits", LONGEST
        )
        fast, took = groups[0].committed - first, time.monotonic() - began
        for group in groups:
            group.pause_seconds = SLOW
        _settle(watch)
        used = cpu_between(cpu, cpu_seconds(daemon.pid))
        count = PARTITIONS * sum(group.committed for group in groups)

        daemon.stand_still(PAUSED_SECONDS)
        resumed = time.time()
        _settle(watch)
        back = time.time() - resumed
        kept = memory(daemon.pid)
    slowest = sorted(watch.seconds)
    rate = fast * PARTITIONS * GROUPS / took
    print(f"{count:,} commits, up to {rate:,.0f}/s, default configuration")
    print(f"  CPU                   {used:.1f} s, {1e6 * used / count:.1f} µs a commit")
    print(f"  scrapes               median {1000 * slowest[len(slowest) // 2]:.0f} ms,", end=" ")
    print(f"slowest {1000 * slowest[-1]:.0f} ms of {len(slowest)}")
    print(f"  after a pause of {PAUSED_SECONDS:.0f} s, a new page after {back:.1f} s")
    print(
        f"  memory                {before_mb:.0f} MB before, {kept.proportional_mb:.0f} MB after,"
    )
    print(f"                        {kept.peak_mb:.0f} MB peak")
    print(f"  wrong lags            {len(watch.wrong)} in {watch.pages} pages")
    for each in watch.wrong[:5]:
        print(f"    {each}")
    return 1 if watch.wrong else 0


def _wait_for_stream(daemon: Daemon) -> None:
    def follows() -> bool:
        try:
            page = Scrape(daemon.exposition().decode(), text=True)
        except OSError:
            return False
        return (page.value("mq_commit_stream_groups") or 0) >= GROUPS

    wait_until(follows, "the topic to be followed", 120)


def _settle(watch: Watch) -> None:
    """Look until a page has offsets of after this moment."""
    now = time.time()
    wait_until(lambda: read_since(watch.look(), SOURCE) >= now, "a poll of the present", LONGEST)


if __name__ == "__main__":
    sys.exit(main())
