"""The programs on this machine that replace the images of docker-compose.yml."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.alerting import alertmanager
from testbed.compose import ANY, Addresses, Files
from testbed.kafka_runtime import broker_command, format_storage
from testbed.nsq import nsq_folder
from testbed.rabbitmq_config import PORTS, NodeLayout, write_config
from testbed.rabbitmq_runtime import (
    SYSTEM,
    epmd_command,
    node_environment,
    rabbitmq_script,
    run_tool,
    write_cookie,
)
from testbed.tools import find_tool

RABBITMQ_CONFIG = "/etc/rabbitmq/conf.d/90-stack.conf"
RABBITMQ_PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")
"""The plugins of the image with `management` in its name."""


@dataclass(frozen=True)
class Program:
    """How a service is run here, and what must run beside it."""

    command: list[str]
    environment: Mapping[str, str] | None = None
    beside: list[list[str]] = field(default_factory=list)


class Programs:
    """Makes a program for each service."""

    def __init__(self, folder: Path, addresses: Addresses) -> None:
        self._folder = folder
        self._addresses = addresses
        self._tool_port = addresses.spare()
        self._rabbit_environment: dict[str, str] = {}

    def of(self, name: str, service: Mapping[str, Any], files: Files) -> Program | None:
        """The program; None for an image without a replacement here."""
        arguments = [
            files.localized(self._addresses.localized(each, name))
            for each in [*(service["entrypoint"] or ()), *(service["command"] or ())]
        ]
        image = service["image"].rpartition(":")[0]
        if image == "apache/kafka":
            return self._kafka(name, service["environment"])
        if image == "rabbitmq":
            return self._rabbitmq(name, files)
        command = _command(image, service["entrypoint"], arguments)
        return None if command is None else Program(command)

    def run_tool(self, command: str, *arguments: str) -> str:
        """The output of one of RabbitMQ's tools. Raises `RuntimeError` if it fails."""
        return run_tool(self._rabbit_environment, self._tool_port, command, *arguments)

    def _kafka(self, name: str, environment: Mapping[str, str]) -> Program:
        """The settings by the image's rules:

        KAFKA_NODE_ID is node.id, `__` an underscore, `___` a dash.
        """
        folder = self._folder / name
        properties = {
            re.sub("_+", _separator, key.removeprefix("KAFKA_")).lower(): self._addresses.localized(
                value.replace("://:", f"://{ANY}:"), name
            )
            for key, value in environment.items()
            if key.startswith("KAFKA_")
        }
        format_storage(folder / "data", int(properties["node.id"]))
        properties["log.dirs"] = str(folder / "data")
        path = folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return Program(broker_command(path))

    def _rabbitmq(self, name: str, files: Files) -> Program:
        folder = self._folder / name / "node"
        folder.mkdir(parents=True)
        ports = {each: self._addresses.spare() for each in PORTS}
        ports["amqp"] = self._addresses.port(name, 5672)
        ports["management"] = self._addresses.port(name, 15672)
        layout = NodeLayout(0, folder, ports)
        lines = re.findall(r"^([\w.]+) = (.*)$", files.mounted(RABBITMQ_CONFIG), re.MULTILINE)
        write_config(layout, [layout], RABBITMQ_PLUGINS, None, dict(lines), {})
        home, epmd_port = folder / "home", self._addresses.spare()
        write_cookie(home, secrets.token_hex())
        self._rabbit_environment = node_environment(layout, home, epmd_port)
        return Program(
            [rabbitmq_script("rabbitmq-server", SYSTEM)],
            self._rabbit_environment,
            beside=[epmd_command(epmd_port)],
        )


def _command(image: str, entrypoint: object, arguments: list[str]) -> list[str] | None:
    match image:
        case "nsqio/nsq":
            return [str(nsq_folder() / Path(arguments[0]).name), *arguments[1:]]
        case "prom/prometheus":
            return [find_tool("prometheus"), *arguments]
        case "prom/alertmanager":
            return [alertmanager(), *arguments]
        case "mq-lag-exporter" if entrypoint:
            assert arguments[0] == "python", arguments
            return [sys.executable, *arguments[1:]]
        case "mq-lag-exporter":
            return [sys.executable, "-m", "exporter", *arguments]
    return None


def _separator(match: re.Match[str]) -> str:
    return {1: ".", 2: "_", 3: "-"}[len(match[0])]
