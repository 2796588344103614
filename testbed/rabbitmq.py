"""Real RabbitMQ clusters for tests: nodes as local processes that can be killed and paused."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from testbed.certificates import Certificates, make_certificates
from testbed.children import Child
from testbed.ports import PortBlock, is_free
from testbed.rabbitmq_access import RabbitAccess
from testbed.rabbitmq_config import (
    PLUGINS,
    PORTS,
    PROTOCOLS,
    QUICK_APPLICATION_STATISTICS,
    QUICK_STATISTICS,
    NodeLayout,
    listeners_of,
    write_config,
)
from testbed.rabbitmq_runtime import (
    RELEASE,
    epmd_command,
    node_environment,
    rabbitmq_script,
    run_tool,
    write_cookie,
)
from testbed.waiting import wait_until


class RabbitCluster(RabbitAccess):
    """Nodes 0 to N-1 of one cluster on 127.0.0.1, with their data in one temporary folder.

    Every node has listeners for AMQP, the management API, the Prometheus plugin and streams, and
    with `tls` also TLS listeners for AMQP and the management API. The users of PASSWORDS and the
    vhost `/` exist from the start.
    """

    def __init__(
        self,
        nodes: int = 1,
        settings: Mapping[str, str] | None = None,
        plugins: Sequence[str] = PLUGINS,
        *,
        quick_statistics: bool = False,
        tls: bool = False,
        rabbit: Mapping[str, str] | None = None,
        release: str = RELEASE,
    ) -> None:
        """`settings` are for rabbitmq.conf, `rabbit` for that application in advanced.config.

        `release` is the Debian release with the RabbitMQ to run. With `quick_statistics` the
        management API shows changes within a second; otherwise as usual, after four to nine
        seconds.
        """
        self._release = release
        self._size = nodes
        self._settings = {**(QUICK_STATISTICS if quick_statistics else {}), **(settings or {})}
        quick = QUICK_APPLICATION_STATISTICS["rabbit"] if quick_statistics else {}
        self._application_settings = {"rabbit": {**quick, **(rabbit or {})}}
        self._plugins = tuple(plugins)
        if "rabbitmq_management" not in self._plugins:
            raise ValueError("without rabbitmq_management nobody can tell that a node is ready")
        self._tls = tls
        self._listeners = listeners_of(self._plugins, tls=tls)
        self._certificates: Certificates | None = None
        self._layouts: list[NodeLayout] = []
        self._children: dict[int, Child] = {}
        self._ended: list[int] = []  # the last to end is the last here
        self._epmd: Child | None = None

    # Starting and stopping

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return when every node has all its listeners and knows the others."""
        self._folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-rabbitmq-"))
        self._home = self._folder / "home"
        self._ports = PortBlock()
        self._epmd_port, self._tool_port = self._ports.take(), self._ports.take()
        try:
            write_cookie(self._home, secrets.token_hex())
            if self._tls:
                self._certificates = make_certificates(self._folder)
            self._layouts = [
                NodeLayout(
                    i, self._folder / f"node-{i}", {name: self._ports.take() for name in PORTS}
                )
                for i in range(self._size)
            ]
            for layout in self._layouts:
                layout.folder.mkdir()
                write_config(
                    layout,
                    self._layouts,
                    self._plugins,
                    self._certificates,
                    self._settings,
                    self._application_settings,
                )
            self._epmd = Child(epmd_command(self._epmd_port), self._folder / "epmd.log")
            for node in self.nodes:  # one after the other, each joins those before it
                self.restart(node)
            self.add_user("restricted", tags="monitoring")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the nodes and remove their folder."""
        self.kill_all()
        if self._epmd:
            self._epmd.kill()
        self._ports.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, node: int) -> None:
        """SIGKILL; the other node notices at once, because its connection is closed.

        A quorum queue younger than about two seconds is lost for good: it stays listed when the
        node is back, and has no leader.
        """
        self._children.pop(node).kill()
        self._ended.append(node)

    def kill_all(self) -> None:
        for node in list(self._children):
            self.kill(node)

    def restart(self, node: int) -> None:
        """Start a killed node again, with the same ports and data; return when it is ready.

        A node that was not the last to be killed waits for that one (`restart_all`).
        """
        self._launch(node)
        self.wait_node(node)

    def restart_all(self) -> None:
        """Start all nodes that do not run, the last one that was killed first, one after the other.

        If two start at once, one may fail because of the other's feature flags.
        """
        waiting = list(reversed(self._ended))
        if self._size > 1 and len(waiting) == self._size:
            self.ctl("force_boot", node=waiting[0])  # or it may wait for those killed with it
        for node in waiting:
            self.restart(node)

    def pause(self, node: int) -> None:
        """SIGSTOP: connections stay open, the system accepts new ones, but nothing answers.

        The other node gives it up after `net_ticktime`, 8 s here.
        """
        self._children[node].pause()

    def resume(self, node: int) -> None:
        self._children[node].resume()

    def terminate(self, node: int, timeout_seconds: float = 60.0) -> None:
        """A clean shutdown by SIGTERM: clients are notified, data is written."""
        self._children.pop(node).terminate(timeout_seconds)
        self._ended.append(node)

    def _launch(self, node: int) -> None:
        folder = self._layouts[node].folder
        if node in self._ended:
            self._ended.remove(node)
        self._children[node] = Child(
            [rabbitmq_script("rabbitmq-server", self._release)],
            folder / "log",
            self._environment(node),
        )

    def _environment(self, node: int) -> dict[str, str]:
        return node_environment(self._layouts[node], self._home, self._epmd_port)

    # Waiting

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return when every running node has its listeners and knows all running nodes."""
        for node in self._children:
            self.wait_node(node, timeout_seconds)

    def wait_node(self, node: int, timeout_seconds: float = 60.0) -> None:
        """Return when this node has all its listeners and knows all running nodes."""
        log_tail = self._children[node].log_tail
        wanted = {(self.name(node), PROTOCOLS[listener]) for listener in self._listeners}
        running = {self._layouts[i].name for i in self._children}

        def is_ready() -> bool:
            for number, child in self._children.items():
                if not child.is_running:
                    raise RuntimeError(
                        f"node {number} ended by itself; the end of its log:\n{child.log_tail()}"
                    )
            try:
                overview = self.api("GET", "overview", node=node, timeout_seconds=5)
                nodes = self.api("GET", "nodes?columns=name,running", node=node, timeout_seconds=5)
            except requests.RequestException:
                return False
            if "listeners" not in overview:
                # Without statistics the API reports neither listeners nor running nodes.
                return not any(is_free(self.port(name, node)) for name in self._listeners)
            found = {(each["node"], each["protocol"]) for each in overview["listeners"]}
            return wanted <= found and running <= {n["name"] for n in nodes if n["running"]}

        try:
            wait_until(is_ready, f"node {node} to be ready", timeout_seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; the end of its log:\n{log_tail()}") from late

    # The tools

    def ctl(self, *arguments: str, node: int = 0) -> str:
        """The output of rabbitmqctl."""
        environment = self._environment(node)
        return run_tool(
            environment, self._tool_port, "rabbitmqctl", *arguments, release=self._release
        )

    @contextmanager
    def maintenance(self, node: int) -> Iterator[None]:
        """Keep the node in maintenance mode: without listeners, but in the cluster."""
        self._upgrade("drain", node)
        try:
            yield
        finally:
            self._upgrade("revive", node)
            self.wait_node(node)

    def _upgrade(self, command: str, node: int) -> None:
        environment = self._environment(node)
        run_tool(environment, self._tool_port, "rabbitmq-upgrade", command, release=self._release)

    # Memory

    @contextmanager
    def memory_alarm(self, node: int = 0) -> Iterator[None]:
        """Let the node block publishers during the block, by too low a memory limit."""
        limit = self._settings.get("vm_memory_high_watermark.relative", "0.4")
        self.ctl("set_vm_memory_high_watermark", "0.000001", node=node)
        self._wait_alarm(node, on=True)
        try:
            yield
        finally:
            self.ctl("set_vm_memory_high_watermark", limit, node=node)
            self._wait_alarm(node, on=False)

    def _wait_alarm(self, node: int, *, on: bool) -> None:
        def is_on() -> bool:
            try:
                self.api("GET", "health/checks/local-alarms", node=node)
            except requests.HTTPError as failure:
                if failure.response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                return True
            return False

        wait_until(lambda: is_on() == on, f"the memory alarm of node {node} to be {on}", 15)
