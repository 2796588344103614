"""docker-compose.yml is valid for Compose's own library, and its parts fit each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import load
from exporter.load import parse_steps
from testbed.compose import COMPOSE_FILE, ComposeError, read_compose
from testbed.tools import ROOT

STACK = ROOT / "config/stack"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = read_compose()["services"]
    return found


def test_a_file_that_compose_would_refuse_is_refused(tmp_path: Path) -> None:
    text = COMPOSE_FILE.read_text()
    for old, new, words in (
        ("kafka: {condition", "kafkas: {condition", "depends on undefined service"),
        ("    image: nsqio", "    imaage: nsqio", "imaage"),
        ("127.0.0.1:9090:9090", "127.0.0.1:9090:web", "Invalid containerPort: web"),
    ):
        assert old in text
        path = tmp_path / "docker-compose.yml"
        path.write_text(text.replace(old, new))
        with pytest.raises(ComposeError, match=words):
            read_compose(path)


def test_every_image_has_a_version_or_is_built_by_one_service(services: dict[str, Any]) -> None:
    """Services that build the same image at the same time disturb each other."""
    ours = services["exporter"]["image"]
    for name, service in services.items():
        _, colon, version = service["image"].rpartition(":")
        assert colon, name
        if service["image"] != ours:
            assert re.search(r"\d", version), f"{name}: {service['image']}"
        elif name != "exporter":
            assert not service.get("build")
            assert service["pull_policy"] == "never"
            assert "exporter" in service["depends_on"]
    assert services["exporter"]["build"]


def test_whoever_serves_has_a_health_check_and_is_published_to_this_machine_only(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        assert "test" in service["healthcheck"] or name.startswith("workload-"), name
        assert service["restart"] == "unless-stopped"
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1"
            assert port["published"] == str(port["target"])


def test_what_is_mounted_is_there_and_read_only(services: dict[str, Any]) -> None:
    mounted = [
        volume
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert mounted
    for volume in mounted:
        assert Path(volume["source"]).exists()
        assert volume["read_only"]


def test_grafana_finds_its_dashboards_and_prometheus(services: dict[str, Any]) -> None:
    targets = {each["target"]: Path(each["source"]) for each in services["grafana"]["volumes"]}
    provisioning = targets["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/mq-lag-exporter.yml").read_text())[
        "providers"
    ]
    assert targets[provider["options"]["path"]] == ROOT / "dashboards"
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (targets[str(home.parent)] / home.name).is_file()
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert [port["target"] for port in services["prometheus"]["ports"]] == [9090]


def test_addresses_of_config_and_commands_are_services(services: dict[str, Any]) -> None:
    texts = [path.read_text() for path in STACK.glob("*.y*ml")]
    texts += [word for service in services.values() for word in service["command"] or ()]
    hosts = {host for text in texts for host in re.findall(r"([a-z][\w-]*):\d{4,5}\b", text)}
    assert hosts - {"localhost"} <= set(services)
    assert {"kafka", "rabbitmq", "nsqlookupd", "exporter", "alertmanager", "inbox"} <= hosts


def test_prometheus_of_the_stack_differs_by_addresses_only() -> None:
    ours = (STACK / "prometheus.yml").read_text()
    ours = re.sub(r"\b(exporter|alertmanager):", "localhost:", ours).replace("../../", "../")
    usual = (ROOT / "config/prometheus.yml").read_text()
    assert yaml.safe_load(ours) == yaml.safe_load(usual)


def test_alertmanager_of_the_stack_differs_by_receivers_only() -> None:
    ours = yaml.safe_load((STACK / "alertmanager.yml").read_text())
    usual = yaml.safe_load((ROOT / "config/alertmanager.yml").read_text())
    assert ours.pop("templates") == [f"../{name}" for name in usual.pop("templates")]
    names = [receiver["name"] for receiver in ours.pop("receivers")]
    assert names == [receiver["name"] for receiver in usual.pop("receivers")]
    assert ours == usual


def test_the_exporter_of_the_stack_watches_all_three_systems() -> None:
    config = load(STACK / "exporter.yaml")
    assert {source.system for source in config.sources} == {"kafka", "rabbitmq", "nsq"}


def test_workloads_catch_up_before_they_begin_again(services: dict[str, Any]) -> None:
    """Otherwise backlogs grow for as long as the stack runs."""
    workloads = {name: each for name, each in services.items() if name.startswith("workload-")}
    assert len(workloads) == 3
    for name, service in workloads.items():
        (text,) = (w for w in service["command"] if w.startswith("--steps="))
        backlog, largest = 0.0, 0.0
        for step in parse_steps(text.removeprefix("--steps=")):
            assert step.takes is not None
            capacity = step.consumers * step.takes * (1 - step.fails)
            backlog = max(backlog + (step.rate - capacity) * step.seconds, 0.0)
            largest = max(largest, backlog)
        assert largest > 1_000, f"{name} passes no threshold"
        assert backlog == 0, name
