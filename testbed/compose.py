"""Reads docker-compose.yml as Compose does, with the addresses and folders of this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.ports import PortBlock, is_free
from testbed.tools import ROOT, built_folder

COMPOSE_FILE = ROOT / "docker-compose.yml"
LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"  # noqa: S104 - what a container listens on
_BROADCAST = re.compile(r"(?<=^--broadcast-address=)[\w-]+$")
"""Option by which an NSQ server announces its address."""


def read_compose(path: Path = COMPOSE_FILE) -> dict[str, Any]:
    """The project as parsed by Compose's own library. Raises `ComposeError` if that rejects it."""
    folder = built_folder("compose", "scripts/compose", "github.com/compose-spec/compose-go")
    program = folder / "compose"
    done = subprocess.run([program, path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ComposeError(done.stderr)
    project: dict[str, Any] = json.loads(done.stdout)
    return project


class ComposeError(Exception):
    """A Compose file that Compose rejects."""


class Addresses:
    """Ports of 127.0.0.1 for the services' `host:port`. Inside a service the host is 0.0.0.0."""

    def __init__(self, services: Mapping[str, Any], ports: PortBlock, *, published: bool) -> None:
        """With `published`, use the published ports of docker-compose.yml if they are free."""
        self._ports = ports
        self._found: dict[tuple[str, int], int] = {}
        self._published = {
            int(port["published"]): (name, int(port["target"]))
            for name, service in services.items()
            for port in service.get("ports", ())
        }
        hosts = "|".join(map(re.escape, [*services, "localhost", ANY]))
        self._address = re.compile(rf"(?<![\w.-])({hosts}):(\d+)\b")
        if published:
            for number, (name, target) in self._published.items():
                if is_free(number):
                    self._found[name, target] = number

    def port(self, service: str, port: int) -> int:
        """The port of this machine for a service's port."""
        if (service, port) not in self._found:
            self._found[service, port] = self._ports.take()
        return self._found[service, port]

    def spare(self) -> int:
        """A port that no service uses."""
        return self._ports.take()

    def url(self, service: str, port: int) -> str:
        """URL without a path."""
        return f"http://{LOOPBACK}:{self.port(service, port)}"

    def localized(self, text: str, service: str) -> str:
        """A text of a service with the addresses of this machine."""

        def here(match: re.Match[str]) -> str:
            host, port = match[1], int(match[2])
            if host == "localhost":  # of this machine already: what is published there
                published = self._published.get(port)
                return f"localhost:{self.port(*published) if published else port}"
            return f"{LOOPBACK}:{self.port(service if host == ANY else host, port)}"

        return _BROADCAST.sub(LOOPBACK, self._address.sub(here, text))


class Files:
    """The folders of a service: mounted ones with local addresses, and those that it writes to."""

    def __init__(
        self, folder: Path, service: str, volumes: Sequence[Mapping[str, Any]], addresses: Addresses
    ) -> None:
        self._folders: dict[str, Path] = {}
        for volume in volumes:
            target = volume["target"]
            self._folders[target] = here = folder / service / target.lstrip("/")
            if volume["type"] == "bind":
                for source, copy in _pairs(Path(volume["source"]), here):
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_text(addresses.localized(source.read_text(), service))
                    shutil.copymode(source, copy)
            else:
                here.mkdir(parents=True)
        targets = "|".join(map(re.escape, sorted(self._folders, key=len, reverse=True)))
        self._target = re.compile(rf"(?<![\w/.])({targets})(?=/|$)") if targets else None

    def localized(self, text: str) -> str:
        """A text with the paths of this machine."""
        if self._target is None:
            return text
        return self._target.sub(lambda match: str(self._folders[match[1]]), text)

    def mounted(self, target: str) -> str:
        """The text of a mounted file."""
        return self._folders[target].read_text()


def _pairs(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    if source.is_file():
        yield source, target
        return
    if not source.is_dir():  # an engine would make an empty folder of it
        raise FileNotFoundError(f"docker-compose.yml mounts {source}, which is not there")
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield path, target / path.relative_to(source)
