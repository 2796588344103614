"""The daemon without descriptors, memory, disk space or a user entry, and with a wrong clock."""

from __future__ import annotations

import os
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from testbed import kafka_data, nsq_data
from testbed.exporter import Exporter, Scrape, kafka_source, nsq_source
from testbed.kafka import Kafka
from testbed.nsq import NsqCluster
from testbed.waiting import wait_until

QUICK: dict[str, Any] = {"schedule": {"backlog": "300ms", "discovery": "1s", "probe": "500ms"}}
NOBODY = "127.0.0.1:1"
AGES = frozenset({"mq_lag_seconds_uncertainty"})
"""What may be missing while the clock is wrong."""
SOME_UID = 12_345
DAY = 86_400.0
CLOCK = """
import mmap, os, struct, time
_descriptor = os.open(os.path.join(os.path.dirname(__file__), "offset"), os.O_RDONLY)
_offset = mmap.mmap(_descriptor, 8, prot=mmap.PROT_READ)
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + struct.unpack("d", _offset)[0]
time.time_ns = lambda: _time_ns() + int(struct.unpack("d", _offset)[0] * 1e9)
"""
"""Loaded by every Python process at its start (`sitecustomize`).

Shifts the clock by the seconds in a file.
"""


def processes(exporter: Exporter) -> list[psutil.Process]:
    """Return the daemon and the processes that it started."""
    daemon = psutil.Process(exporter.pid)
    return [daemon, *daemon.children(recursive=True)]


@contextmanager
def limited(exporter: Exporter, kind: int, *, room: int | None) -> Iterator[None]:
    """Limit each process of the daemon.

    With `room`, to that much more address space than it uses now. Without `room`, to no new
    descriptor.
    """
    before = {}
    for process in processes(exporter):
        before[process.pid] = resource.prlimit(process.pid, kind)
        soft = 3 if room is None else process.memory_info().vms + room
        resource.prlimit(process.pid, kind, (soft, before[process.pid][1]))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, kind, limits)


class Scraper:
    """A scraper that keeps its connection, as Prometheus does."""

    def __init__(self, exporter: Exporter) -> None:
        self._session = requests.Session()
        self._url = exporter.url
        self.page()

    def get(self, path: str) -> requests.Response:
        return self._session.get(self._url + path, timeout=60)

    def page(self) -> Scrape:
        return Scrape(self.get("/metrics").text, text=True)

    def wait(self, metric: str, value: float, **labels: str) -> None:
        def seen() -> bool:
            return self.page().value(metric, **labels) == value

        wait_until(seen, f"{metric} {value} of {labels}", 120, poll_seconds=0.1)


def lag(page: Scrape, topic: str) -> float | None:
    found = page.find("mq_lag_messages", source="test", destination=topic)
    return sum(found.values()) if found else None


def kill_readers(exporter: Exporter) -> None:
    """Kill the processes that read the sources."""
    for process in processes(exporter)[2:]:
        process.kill()


@pytest.fixture
def topic(nsq: NsqCluster, request: pytest.FixtureRequest) -> str:
    """A topic with three messages for one channel."""
    name = f"hardship-{time.monotonic_ns()}"
    url = nsq.http_url("nsqd-0")
    nsq_data.create_channel(url, name, "c")
    nsq_data.publish_all(url, name, [b"x"] * 3)
    return name


def sources(nsq: NsqCluster) -> list[dict[str, Any]]:
    """A source that can be read, and one that cannot."""
    return [nsq_source(nsq, **QUICK), kafka_source(NOBODY, "dead")]


def test_out_of_descriptors(nsq: NsqCluster, topic: str, tmp_path: Path) -> None:
    with Exporter(tmp_path, sources(nsq)) as exporter:
        exporter.wait(lambda page: lag(page, topic) == 3, "the lag")
        scraper = Scraper(exporter)
        with limited(exporter, resource.RLIMIT_NOFILE, room=None):
            kill_readers(exporter)
            scraper.wait("mq_up", 0, source="test")
            nsq_data.publish_all(nsq.http_url("nsqd-0"), topic, [b"x"] * 2)
            # Held values are the last ones that were read; open connections continue to work.
            assert lag(scraper.page(), topic) == 3
            assert scraper.get("/-/healthy").text == "healthy\n"
            assert "could not be started: Too many open files; raise the limit" in exporter.log()
        exporter.wait(lambda page: lag(page, topic) == 5, "the lag")
        page = exporter.scrape()
        assert page.value("mq_up", source="test") == 1
        # Attempts that started no process are not restarts, and are not logged as such.
        assert page.value("mq_collector_restarts_total", source="test") == 1
        assert exporter.log().count("worker.replaced") <= 2
        assert "Traceback" not in exporter.log()


def test_out_of_memory(nsq: NsqCluster, topic: str, tmp_path: Path) -> None:
    with Exporter(tmp_path, sources(nsq)) as exporter:
        exporter.wait(lambda page: lag(page, topic) == 3, "the lag")
        scraper = Scraper(exporter)
        with limited(exporter, resource.RLIMIT_AS, room=100_000):
            kill_readers(exporter)
            scraper.wait("mq_up", 0, source="test")
            nsq_data.publish_all(nsq.http_url("nsqd-0"), topic, [b"x"] * 2)
            assert lag(scraper.page(), topic) == 3
            assert scraper.get("/-/healthy").text == "healthy\n"
            assert "out of memory or threads" in exporter.log()
        exporter.wait(lambda page: lag(page, topic) == 5, "the lag")
        assert exporter.scrape().value("mq_up", source="test") == 1
        assert "Traceback" not in exporter.log()


def served(exporter: Exporter, topic: str) -> None:
    """The lag is shown, a reload works, and the daemon stops cleanly."""
    exporter.wait(lambda page: lag(page, topic) == 3, "the lag")
    exporter.hang_up()
    wait_until(lambda: "config.reloaded" in exporter.log(), "the reload")
    exporter.wait(lambda page: lag(page, topic) == 3, "the lag")
    assert exporter.child is not None
    exporter.child.terminate_only()
    assert exporter.child._process.wait(60) == 0
    assert "Traceback" not in exporter.log()


READ_ONLY = """
mount -o remount,bind,ro / || exit 1
for folder in /tmp /var /dev/shm; do
  mount --bind "$folder" "$folder" && mount -o remount,bind,ro "$folder" || exit 1
done
! touch /tmp/x /x 2>/dev/null || exit 1
"""
IN_NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def test_a_file_system_that_is_read_only(nsq: NsqCluster, topic: str, tmp_path: Path) -> None:
    wrapped_by = [*IN_NAMESPACES, READ_ONLY + 'exec "$@"', "sh"]
    with Exporter(tmp_path, sources(nsq), wrapped_by=wrapped_by) as exporter:
        served(exporter, topic)


def test_any_uid_without_a_home(nsq: NsqCluster, topic: str, tmp_path: Path) -> None:
    """As with OpenShift and `docker run --user`: no entry in /etc/passwd, no writable folder."""
    become = f"env -u USER -u LOGNAME -u HOME unshare --user --map-user={SOME_UID} -- "
    assert_uid = f'sh -c \'[ "$(id -u)" = {SOME_UID} ] && exec "$@"\' sh '
    script = f'{READ_ONLY}exec {become}{assert_uid}"$@"'
    with Exporter(tmp_path, sources(nsq), wrapped_by=[*IN_NAMESPACES, script, "sh"]) as exporter:
        served(exporter, topic)


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A folder with a clock that is correct until `jump`."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    (folder / "offset").write_bytes(struct.pack("d", 0.0))
    return folder


def jump(clock: Path, seconds: float) -> None:
    """Shift the clock by so many seconds from now on."""
    with (clock / "offset").open("r+b") as file:
        file.write(struct.pack("d", seconds))


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_jumps_a_day(
    kafka: Kafka, nsq: NsqCluster, topic: str, clock: Path, tmp_path: Path, days: int
) -> None:
    name = f"clock-{time.monotonic_ns()}"
    kafka_data.create_topic(kafka.bootstrap, name)
    kafka_data.produce(kafka.bootstrap, name, n=10)
    kafka_data.commit_offsets(kafka.bootstrap, name, {(name, 0): 4})
    all_sources = [
        nsq_source(nsq, **QUICK),
        kafka_source(kafka.bootstrap, "kafka", groups={"include": [name]}),
    ]
    defaults = {"hold": "5s", "rate_window": "10s"}
    environment = {**os.environ, "PYTHONPATH": f"{clock}{os.pathsep}{Path.cwd()}"}
    with Exporter(tmp_path, all_sources, defaults=defaults, environment=environment) as exporter:
        exporter.wait(lambda page: lag(page, topic) == 3, "the lag")
        before = exporter.wait(
            lambda page: page.value("mq_lag_seconds", destination=name, group=name), "the age"
        )
        jump(clock, days * DAY)
        late = days * DAY + time.time() - 60

        def is_aware(page: Scrape) -> bool:
            """Each source was read with the shifted clock."""
            times = page.find("mq_collect_last_success_timestamp_seconds", task="backlog")
            return all(abs(value - late) < DAY / 2 for value in times.values())

        exporter.wait(is_aware, "the clock to be noticed")
        nsq_data.publish_all(nsq.http_url("nsqd-0"), topic, [b"x"] * 2)
        kafka_data.produce(kafka.bootstrap, name, n=5)
        page = exporter.wait(lambda page: lag(page, topic) == 5, "the lag")
        page = exporter.wait(
            lambda page: page.value("mq_lag_messages", destination=name, group=name) == 11, "lag"
        )
        exporter.cycles(7, source="kafka")  # longer than `hold`: nothing expires
        page = exporter.scrape()
        # All series are still there, counts and rates continue, and nothing failed.
        missing = {key for key in before.series if key not in page.series}
        assert not {metric for metric, _ in missing} - AGES
        assert set(page.find("mq_up").values()) == {1}
        assert lag(page, topic) == 5
        for metric in ("mq_produced_messages_total", "mq_consumed_messages_total"):
            for labels, value in before.find(metric).items():
                assert value <= page.series[metric, labels] <= value + 5

        def age_is_of_the_clock(page: Scrape) -> bool:
            age = page.value("mq_lag_seconds", destination=name, group=name)
            return age is not None and (DAY <= age < DAY + 600 if days > 0 else age == 0)

        exporter.wait(age_is_of_the_clock, "the age by the clock")
        jump(clock, 0.0)
        exporter.wait(
            lambda page: (
                0 < (page.value("mq_lag_seconds", destination=name, group=name) or 0) < DAY / 2
            ),
            "the age to be right again",
        )
        page = exporter.scrape()
        assert page.value("mq_lag_messages", destination=name, group=name) == 11
        assert "Traceback" not in exporter.log()
