"""Runs the services of docker-compose.yml, except Grafana, as programs on this machine.

Commands, settings and config files are the same. Only addresses (`kafka:9092` becomes a port of
127.0.0.1) and the paths of mounted folders are replaced.
"""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import requests

from testbed.children import Child
from testbed.compose import LOOPBACK, Addresses, Files, read_compose
from testbed.ports import PortBlock
from testbed.stack_programs import Programs
from testbed.waiting import wait_until

_URL = re.compile(r"^http://[\w.:-]+[\w/.-]*$")
_SOCKET = re.compile(r"/dev/tcp/([\w.-]+)/(\d+)")
_HEALTHY_SECONDS = 120.0


class Stack:
    """A context manager in which every service runs and is healthy."""

    def __init__(
        self, told: Callable[[str], object] = lambda _: None, *, published: bool = False
    ) -> None:
        """`told` is called with a text on each service.

        `published` uses the ports of docker-compose.yml if they are free.
        """
        self._told = told
        self._published = published
        self.services: dict[str, Any] = read_compose()["services"]
        self.children: dict[str, Child] = {}
        self.left_out: list[str] = []
        self._beside: list[Child] = []

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-stack-"))
        self._ports = PortBlock()
        try:
            self.addresses = Addresses(self.services, self._ports, published=self._published)
            self._programs = Programs(self._folder, self.addresses)
            for name in self._in_order():
                self._start(name)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, Exception):
            for name in self.ended() or self.children:
                self._told(f"{name}:\n{self.log(name)}")
        self._end()

    def url(self, service: str) -> str:
        """The address of a service's published port."""
        (port,) = self.services[service]["ports"]
        return self.addresses.url(service, int(port["target"]))

    def log(self, service: str) -> str:
        """The end of a service's output."""
        return self.children[service].log_tail(200)

    def ended(self) -> list[str]:
        """Services that ended unexpectedly."""
        return [name for name, child in self.children.items() if not child.is_running]

    def _in_order(self) -> list[str]:
        """The services, each after those that it depends on."""
        ordered: list[str] = []

        def add(name: str) -> None:
            for needed in self.services[name].get("depends_on", {}):
                add(needed)
            if name not in ordered:
                ordered.append(name)

        for name in self.services:
            add(name)
        return ordered

    def _start(self, name: str) -> None:
        service = self.services[name]
        for needed in service.get("depends_on", {}):
            self._wait_healthy(needed)
        (self._folder / name).mkdir()
        files = Files(self._folder, name, service.get("volumes", []), self.addresses)
        program = self._programs.of(name, service, files)
        if program is None:
            self._told(f"{name}: not here, it comes as a container only")
            self.left_out.append(name)
            return
        self._told(f"{name}: starts")
        log = self._folder / name / "log"
        self._beside += [Child(command, log) for command in program.beside]
        self.children[name] = Child(program.command, log, program.environment)

    def wait_healthy(self) -> None:
        """Return when every service with a health check passes it."""
        for name in self.children:
            self._wait_healthy(name)

    def _wait_healthy(self, name: str) -> None:
        check = self.services[name].get("healthcheck", {})
        if check.get("disable"):
            return
        look = self._look(name, check["test"][1:])

        def healthy() -> bool:
            if not self.children[name].is_running:
                raise RuntimeError(f"{name} ended by itself; the end of its log:\n{self.log(name)}")
            return _succeeds(look)

        wait_until(healthy, f"{name} to be healthy", _HEALTHY_SECONDS, poll_seconds=0.2)

    def _look(self, name: str, test: list[str]) -> Callable[[], object]:
        """Do a health check without the container's tools; raises if the service is not healthy."""
        if test[0] == "rabbitmq-diagnostics":
            return lambda: self._programs.run_tool(test[0], *test[1:])
        if opened := _SOCKET.search(" ".join(test)):
            address = (LOOPBACK, self.addresses.port(opened[1], int(opened[2])))
            return lambda: socket.create_connection(address, 5).close()
        (url,) = (self.addresses.localized(word, name) for word in test if _URL.match(word))
        if test[0] == "mq-lag-exporter":
            url += "/-/healthy"
        return lambda: requests.get(url, timeout=5).raise_for_status()

    def _end(self) -> None:
        for child in [*reversed(self.children.values()), *self._beside]:
            child.kill()
        self._ports.release()
        shutil.rmtree(self._folder, ignore_errors=True)


def _succeeds(look: Callable[[], object]) -> bool:
    try:
        look()
    except (OSError, RuntimeError):  # a requests.RequestException is an OSError
        return False
    return True
