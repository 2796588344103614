"""How RabbitMQ is run: its scripts, and an environment separate from other nodes'."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from exporter.demo.rabbitmq_node import SCRIPTS
from exporter.demo.rabbitmq_node import node_environment as start_environment
from testbed.rabbitmq_config import NodeLayout
from testbed.tools import cached_folder, find_tool

_DEBIAN_SCRIPTS = Path(SCRIPTS)
_DEBIAN_SERVERS = Path("/usr/lib/rabbitmq/lib")
SYSTEM = "system"
"""The installed RabbitMQ; those of other Debian releases are in .cache."""


def release_of(version: str, other: str) -> str:
    """The installed RabbitMQ if it has this version (`4`, `3.10`).

    Else that of another Debian release.
    """
    installed = any(_DEBIAN_SERVERS.glob(f"rabbitmq_server-{version}.*"))
    return SYSTEM if installed else other


RELEASE = os.environ.get("MQ_TEST_RABBITMQ") or release_of("4", "trixie")
"""The RabbitMQ for tests: 4.0, or the one in MQ_TEST_RABBITMQ."""
OLDEST = release_of("3", "bookworm")
"""The oldest supported one: 3.10."""


def rabbitmq_script(name: str, release: str = RELEASE) -> str:
    """One of RabbitMQ's own scripts; Debian's commands with those names are wrappers for root."""
    if release != SYSTEM:
        return str(cached_folder(f"rabbitmq-{release}") / "bin" / name)
    if (_DEBIAN_SCRIPTS / name).exists():
        return str(_DEBIAN_SCRIPTS / name)
    return find_tool(name)


def epmd_command(port: int) -> list[str]:
    """The command of Erlang's port mapper on a separate port for each cluster."""
    return [find_tool("epmd"), "-port", str(port), "-address", "127.0.0.1"]


def write_cookie(home: Path, cookie: str) -> None:
    """The shared secret of the nodes and tools of one cluster."""
    home.mkdir()
    file = home / ".erlang.cookie"
    file.write_text(cookie)
    file.chmod(0o400)


def node_environment(node: NodeLayout, home: Path, epmd_port: int) -> dict[str, str]:
    """The environment for `rabbitmq-server` and the tools, without the machine's own RabbitMQ."""
    own = start_environment(
        node.folder,
        home=home,
        name=node.name,
        port=node.ports["distribution"],
        epmd_port=epmd_port,
        more_arguments=f" -kernel inetrc '{node.folder / 'inetrc'}'",
    )
    return {**own, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "ERL_EPMD_ADDRESS": "127.0.0.1"}


def run_tool(
    environment: Mapping[str, str], port: int, command: str, *arguments: str, release: str = RELEASE
) -> str:
    """The output of one of RabbitMQ's command line tools. It takes half a second, and this port."""
    ports = {"RABBITMQ_CTL_DIST_PORT_MIN": str(port), "RABBITMQ_CTL_DIST_PORT_MAX": str(port)}
    done = subprocess.run(
        [rabbitmq_script(command, release), "--quiet", *arguments],
        env={**environment, **ports},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"{command} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
