"""A real Prometheus and Alertmanager with the project's files, and a receiver of notifications.

Time is scaled, so that five minutes pass in some seconds: every duration in the rules and in
Alertmanager's config is divided by `SCALE`. Nothing else is changed.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from testbed.children import Child
from testbed.ports import PortBlock
from testbed.tools import ROOT, MissingToolError, find_tool
from testbed.waiting import wait_until

SCALE = 20
SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?<![\w.])([0-9]+)(s|m|h|d)(?!\w)")
_COMPARED = re.compile(r"(?<=[<>,] )(300|900|3600|14400|86400)\b")


def scaled(text: str, scale: float = SCALE) -> str:
    """Divide the durations in a text, and the seconds in comparisons and predictions."""

    def duration(match: re.Match[str]) -> str:
        return f"{max(round(float(match[1]) * SECONDS[match[2]] * 1_000 / scale), 1)}ms"

    return _COMPARED.sub(lambda m: f"{float(m[1]) / scale:g}", _DURATION.sub(duration, text))


def scaled_rules(folder: Path, scale: float = SCALE) -> list[Path]:
    """Write the project's rules with scaled times; texts are unchanged."""
    made = []
    for path in sorted((ROOT / "alerts").glob("*.yml")):
        rules = yaml.safe_load(path.read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                for key in ("expr", "for", "keep_firing_for"):
                    if key in rule:
                        rule[key] = scaled(rule[key], scale)
        made.append(folder / path.name)
        made[-1].write_text(yaml.safe_dump(rules))
    return made


def paced(scale: float) -> dict[str, Any]:
    """Intervals of a source: `scale` times as short as by default, and a poll every second."""
    tasks = ("backlog", "consumers", "rates", "latency", "probe")
    return {
        "schedule": {**dict.fromkeys(tasks, "1s"), "discovery": "2s"},
        "deadline": "2s",
        "rate_window": f"{round(120_000 / scale)}ms",
        "hold": f"{round(120_000 / scale)}ms",
    }


@dataclass(frozen=True)
class Notification:
    """One notification of Alertmanager to the receiver."""

    at: float
    status: str
    labels: Mapping[str, str]
    """The labels by which Alertmanager grouped the alerts."""
    alerts: tuple[Mapping[str, Any], ...]

    def names(self, status: str = "firing") -> set[str]:
        return {each["labels"]["alertname"] for each in self.alerts if each["status"] == status}

    @property
    def text(self) -> str:
        return " ".join(each["annotations"]["description"] for each in self.alerts)


class Receiver:
    """Receives webhooks of Alertmanager and messages for Slack."""

    def __init__(self, port: int) -> None:
        self.notifications: list[Notification] = []
        self.slack: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{port}"

    def take(self, path: str, body: dict[str, Any]) -> None:
        if path == "/slack":
            self.slack.append(body)
            return
        told = Notification(
            time.monotonic(), body["status"], body["groupLabels"], tuple(body["alerts"])
        )
        self.notifications.append(told)

    def of(self, **labels: str) -> list[Notification]:
        """Notifications of the group with these labels (and `system`), in order of arrival."""
        return [
            each
            for each in self.notifications
            if {k: v for k, v in each.labels.items() if k != "system"} == labels
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alerting:
    """Prometheus, Alertmanager and the receiver; a context manager."""

    def __init__(
        self, folder: Path, *exporters: str, scale: float = SCALE, clusters: Sequence[str] = ()
    ) -> None:
        """Scrape the exporters, each host:port. A scale of 1 leaves the files as they are.

        With `clusters`, Prometheus scrapes each exporter once per cluster and adds the label.
        """
        self._clusters = clusters
        self._ports = PortBlock()
        self._folder = folder
        self._scale = scale
        self._prometheus_port = self._ports.take()
        self._alertmanager_port = self._ports.take()
        self.receiver = Receiver(self._ports.take())
        self._exporters = exporters
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self._children = [self._start_alertmanager(), self._start_prometheus()]
            for port in (self._alertmanager_port, self._prometheus_port):
                wait_until(lambda port=port: self._answers(port), f"port {port} to answer")  # type: ignore[misc]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            for child in self._children:
                print(child.log_tail())  # noqa: T201 - pytest shows it with the failure
        self._end()

    def _end(self) -> None:
        for child in self._children:
            child.kill()
        self.receiver.close()
        self._ports.release()

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self._prometheus_port}"

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        answer = requests.get(
            f"{self.prometheus_url}/api/v1/query",
            params={"query": text},
            timeout=30,
        )
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """The names of the firing alerts."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {each["metric"]["alertname"] for each in found}

    def wait(
        self,
        condition: Callable[[list[Notification]], Any],
        what: str,
        timeout_seconds: float = 120.0,
        **labels: str,
    ) -> list[Notification]:
        """Wait until the condition holds for the notifications of a group; return them."""

        def look() -> list[Notification] | None:
            found = self.receiver.of(**labels)
            return found if condition(found) else None

        found = wait_until(look, what, timeout_seconds, poll_seconds=0.2)
        assert found is not None
        return found

    def _answers(self, port: int) -> bool:
        for child in self._children:
            if not child.is_running:
                raise AssertionError(child.log_tail())
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5)
        except requests.ConnectionError:
            return False
        return bool(answer.ok)

    def _start_prometheus(self) -> Child:
        config = yaml.safe_load((ROOT / "config" / "prometheus.yml").read_text())
        interval = "1s" if self._scale > 1 else config["global"]["scrape_interval"]
        config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
        (self._folder / "rules").mkdir()
        config["rule_files"] = [
            str(path) for path in scaled_rules(self._folder / "rules", self._scale)
        ]
        address = f"127.0.0.1:{self._alertmanager_port}"
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [address]}]}]
        targets: dict[str, Any] = {"targets": list(self._exporters)}
        config["scrape_configs"][0]["static_configs"] = [
            {**targets, "labels": {"cluster": name}} for name in self._clusters
        ] or [targets]
        path = self._folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        command = [
            find_tool("prometheus"),
            f"--config.file={path}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._prometheus_port}",
            f"--query.lookback-delta={max(round(300_000 / self._scale), 5_000)}ms",
            "--rules.alert.resend-delay=1s",
        ]
        return Child(command, self._folder / "prometheus.log")

    def _start_alertmanager(self) -> Child:
        path = self._folder / "alertmanager.yml"
        config = yaml.safe_load((ROOT / "config" / "alertmanager.yml").read_text())
        _scale_route(config["route"], self._scale)
        config["receivers"] = [
            {"name": "nobody"},
            {
                "name": "team",
                "webhook_configs": [{"url": f"{self.receiver.url}/webhook"}],
                "slack_configs": [
                    {
                        "api_url": f"{self.receiver.url}/slack",
                        "channel": "#queues",
                        "title": '{{ template "mq.title" . }}',
                        "title_link": '{{ template "mq.link" . }}',
                        "text": '{{ template "mq.text" . }}',
                        "send_resolved": True,
                    }
                ],
            },
        ]
        shutil.copy(ROOT / "config" / "notifications.tmpl", self._folder)
        path.write_text(yaml.safe_dump(config))
        command = [
            alertmanager(),
            f"--config.file={path}",
            f"--storage.path={self._folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self._alertmanager_port}",
            "--cluster.listen-address=",
        ]
        return Child(command, self._folder / "alertmanager.log")


def alertmanager() -> str:
    """The path of Alertmanager; Debian's package uses another name."""
    try:
        return find_tool("prometheus-alertmanager")
    except MissingToolError:
        return find_tool("alertmanager")


def _scale_route(route: dict[str, Any], scale: float) -> None:
    for key in ("group_wait", "group_interval"):
        if key in route:
            route[key] = scaled(route[key], scale)
    for child in route.get("routes", ()):
        _scale_route(child, scale)
