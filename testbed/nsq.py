"""Real NSQ for tests: nsqd and nsqlookupd as local processes that can be killed and paused."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from testbed.certificates import Certificates, make_certificates
from testbed.children import Child
from testbed.ports import PortBlock
from testbed.tools import built_folder
from testbed.waiting import wait_until

_REGISTRATION_SECONDS = 40.0


class NsqCluster:
    """`nsqd-0`, `nsqd-1`, ... and `lookupd-0`, ... on 127.0.0.1, with data in a temporary folder.

    Every nsqd registers with every nsqlookupd. With `tls` it also has an HTTPS listener, and offers
    TLS to clients of its TCP port.
    """

    def __init__(
        self,
        nsqds: int = 1,
        lookupds: int = 1,
        options: Mapping[str, str] | None = None,
        lookupd_options: Mapping[str, str] | None = None,
        *,
        tls: bool = False,
        folder: Path | None = None,
    ) -> None:
        """Options are without the dashes: `{"e2e-processing-latency-percentile": "1.0,0.99"}`.

        `folder` has the programs, if they are not the default ones.
        """
        self._programs = folder
        self.nsqds = tuple(f"nsqd-{i}" for i in range(nsqds))
        self.lookupds = tuple(f"lookupd-{i}" for i in range(lookupds))
        self._options = dict(options or {})
        self._lookupd_options = dict(lookupd_options or {})
        self._tls = tls
        self._certificates: Certificates | None = None
        self._addresses: dict[tuple[str, str], str] = {}
        self._children: dict[str, Child] = {}

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
        """Return when every process answers, and every nsqlookupd knows every nsqd."""
        self._folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-nsq-"))
        self._ports = PortBlock()
        try:
            if self._tls:
                self._certificates = make_certificates(self._folder)
            for process in (*self.lookupds, *self.nsqds):
                (self._folder / process).mkdir()
                for listener in ("tcp", "http", "https"):
                    self._addresses[process, listener] = f"127.0.0.1:{self._ports.take()}"
            self.restart_all()
            self.wait_registered()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the processes and remove their folder."""
        self.kill_all()
        self._ports.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, process: str) -> None:
        """SIGKILL: an nsqd loses the messages that are in memory and not on disk."""
        self._children.pop(process).kill()

    def kill_all(self) -> None:
        for process in list(self._children):
            self.kill(process)

    def terminate(self, process: str, timeout_seconds: float = 30.0) -> None:
        """A clean shutdown by SIGTERM: an nsqd writes its messages to disk."""
        self._children.pop(process).terminate(timeout_seconds)

    def restart(self, process: str) -> None:
        """Start a killed process again, with the same ports and data; return when it answers."""
        self._launch(process)
        self._wait_answer(process)

    def restart_all(self) -> None:
        """Start all processes that do not run; return when every one answers."""
        for processes in (self.lookupds, self.nsqds):  # an nsqd that comes too soon waits 15 s
            launched = [process for process in processes if process not in self._children]
            for process in launched:
                self._launch(process)
            for process in launched:
                self._wait_answer(process)

    def pause(self, process: str) -> None:
        """SIGSTOP: connections stay open, the system accepts new ones, but nothing answers."""
        self._children[process].pause()

    def resume(self, process: str) -> None:
        self._children[process].resume()

    def _launch(self, process: str) -> None:
        program = "nsqlookupd" if process in self.lookupds else "nsqd"
        command = [str((self._programs or nsq_folder()) / program)]
        command += [f"--{key}={value}" for key, value in self._flags(process).items()]
        if process in self.nsqds:
            command += [
                f"--lookupd-tcp-address={self.tcp_address(lookupd)}" for lookupd in self.lookupds
            ]
        self._children[process] = Child(command, self.log_file(process))

    def _flags(self, process: str) -> dict[str, str]:
        shared = {
            "tcp-address": self.tcp_address(process),
            "http-address": self._addresses[process, "http"],
            "broadcast-address": "127.0.0.1",
        }
        if process in self.lookupds:
            return {**shared, **self._lookupd_options}
        flags = {
            **shared,
            "data-path": str(self._folder / process),
            # Without it all nsqds of a machine have the same id, and create the same message ids
            "node-id": str(self.nsqds.index(process)),
        }
        if self._certificates:
            flags |= {
                "https-address": self._addresses[process, "https"],
                "tls-cert": str(self._certificates.server),
                "tls-key": str(self._certificates.server),
            }
        return {**flags, **self._options}

    # Waiting

    def _wait_answer(self, process: str, timeout_seconds: float = 30.0) -> None:
        child = self._children[process]

        def answers() -> bool:
            if not child.is_running:
                raise RuntimeError(
                    f"{process} ended by itself; the end of its log:\n{child.log_tail()}"
                )
            try:
                # 403 if TLS is required for HTTP, too
                return requests.get(f"{self.http_url(process)}/ping", timeout=2).status_code in (
                    requests.codes.ok,
                    requests.codes.forbidden,
                )
            except requests.RequestException:
                return False

        wait_until(answers, f"{process} to answer", timeout_seconds, poll_seconds=0.02)

    def wait_registered(self) -> None:
        """Return when each running nsqlookupd lists all running nsqds, and no others.

        An nsqd that lost an nsqlookupd checks every 15 s, and is back after the second check,
        unless `announce` forces it.
        """
        ports = {self.port(nsqd, "tcp") for nsqd in self.nsqds if nsqd in self._children}
        for lookupd in self.lookupds:
            if lookupd in self._children:
                self._wait_listed(lookupd, ports)

    def announce(self) -> None:
        """Make the running nsqds reconnect to their nsqlookupds, and wait until they have."""
        for nsqd in self.nsqds:
            if nsqd in self._children:
                url = f"{self.http_url(nsqd)}/config/nsqlookupd_tcp_addresses"
                for addresses in ([], [self.tcp_address(lookupd) for lookupd in self.lookupds]):
                    requests.put(url, json=addresses, timeout=5).raise_for_status()
        self.wait_registered()

    def _wait_listed(self, lookupd: str, ports: set[int]) -> None:
        def listed() -> bool:
            answer = requests.get(f"{self.http_url(lookupd)}/nodes", timeout=5)
            answer.raise_for_status()
            return ports == {producer["tcp_port"] for producer in answer.json()["producers"]}

        wait_until(listed, f"{lookupd} to know the nsqds", _REGISTRATION_SECONDS, poll_seconds=0.02)

    # Addresses

    @property
    def ca_file(self) -> Path:
        assert self._certificates, "only with tls"
        return self._certificates.ca

    def tcp_address(self, process: str = "nsqd-0") -> str:
        """host:port for clients and, of an nsqlookupd, for nsqds."""
        return self._addresses[process, "tcp"]

    def http_url(self, process: str = "nsqd-0", *, tls: bool = False) -> str:
        """URL without a path."""
        if tls:
            return f"https://{self._addresses[process, 'https']}"
        return f"http://{self._addresses[process, 'http']}"

    def port(self, process: str, listener: str) -> int:
        """Port of the listener `tcp`, `http` or `https`."""
        return int(self._addresses[process, listener].rpartition(":")[2])

    def log_file(self, process: str) -> Path:
        return self._folder / process / "log"


def nsq_folder() -> Path:
    """The folder of nsqd and nsqlookupd, installed by scripts/install-test-tools."""
    return built_folder("nsq", "scripts/nsq", "github.com/nsqio/nsq")
