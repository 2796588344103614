"""Sends a message to each nsqd and receives it, on an ephemeral topic of this exporter.

nsqd deletes the topic when the connection is closed.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from exporter.collectors.nsq.nodes import Nsqd
from exporter.collectors.nsq.protocol import ERROR, MESSAGE, MESSAGE_HEAD, NsqConnection, refusal
from exporter.collectors.nsq.selection import EPHEMERAL
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.nsq.trust import NodeTrust
from exporter.collectors.parallel import FairPool
from exporter.model import CollectError, Deadline, Finding, NodeProbe, Probes, Problem, Until
from exporter.scrub import learn, scrub
from exporter.secret_files import SecretFileError, read_secret

MARGIN = 0.5
"""Seconds of the task's deadline that are kept for everything but waiting."""
CHANNEL = f"probe{EPHEMERAL}"


class _NodeOutcome(NamedTuple):
    """The result of one probe."""

    probe: NodeProbe
    problem: Problem | None = None


def _unsent(name: str, problem: Problem) -> _NodeOutcome:
    return _NodeOutcome(NodeProbe(name, sent=False, publish=None, receive=None, ack=None), problem)


def _outcome(name: str, answer: _NodeOutcome | CollectError) -> _NodeOutcome:
    """Return the result of a probe, including one that was given up."""
    if isinstance(answer, CollectError):
        return _unsent(name, Problem(answer.reason, name, str(answer)))
    return answer


class NsqProber:
    """Keeps a connection to each nsqd and sends a probe over it."""

    def __init__(self, settings: NsqSettings) -> None:
        self._settings = settings
        self._topic = f"{settings.probe_topic}-{os.urandom(4).hex()}{EPHEMERAL}"
        """Each exporter has its own topic. Otherwise two exporters would receive each other's
        messages.
        """
        self._connections: dict[str, _NodeConnection] = {}
        self._pool = FairPool()

    def run(self, nodes: Sequence[Nsqd], deadline: Deadline) -> Probes:
        """Probe all nsqds at the same time."""
        names = {node.name for node in nodes}
        for name in [name for name in self._connections if name not in names]:
            self._connections.pop(name).close()
        for node in nodes:
            self._connections.setdefault(node.name, _NodeConnection(self._settings, self._topic))
        if not nodes:
            return Probes(())
        seconds = min(self._settings.probe_deadline, max(deadline.remaining() - MARGIN, 0.1))
        until = Until(seconds)
        # The probes have their own, earlier deadline. This one ends the name resolution, which has
        # none.
        found = self._pool.all_at_once(
            {node.name: partial(self._connections[node.name].probe, node, until) for node in nodes},
            Until(seconds + MARGIN / 2),
            lambda outcome: outcome.probe.receive is not None,
        )
        outcomes = [_outcome(name, answer) for name, answer in found.items()]
        return Probes(
            [outcome.probe for outcome in outcomes],
            [outcome.problem for outcome in outcomes if outcome.problem is not None],
        )

    def check(self, nodes: Sequence[Nsqd], deadline: Deadline) -> list[Finding]:
        """Probe each nsqd once."""
        probes = self.run(nodes, deadline)
        why = {problem.subject: problem.message for problem in probes.problems}
        return [
            Finding(
                f"probe ({probe.node})",
                ok=probe.receive is not None,
                detail=why.get(probe.node)
                or (
                    f"end to end in {probe.receive * 1000:.1f} ms"
                    if probe.receive is not None
                    else "the message did not come back in time"
                ),
            )
            for probe in probes.probes
        ]

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


class _NodeConnection:
    """A connection to one nsqd. Used by one thread at a time."""

    def __init__(self, settings: NsqSettings, topic: str) -> None:
        self._settings = settings
        self._trust = NodeTrust(settings)
        self._topic = topic
        self._connection: NsqConnection | None = None
        self._address: tuple[str, int] | None = None
        self._number = 0
        self._given: tuple[str | None, bytes | None] = (None, None)
        """The secret and the fingerprint of the certificate files that were used last."""

    def probe(self, node: Nsqd, deadline: Deadline) -> _NodeOutcome:
        """Send one message and wait for it until the deadline. Never raises."""
        try:
            reused = self._connection is not None
            try:
                return _NodeOutcome(
                    self._exchange(self._ready(node, deadline), node.name, deadline)
                )
            except (OSError, CollectError) as error:
                # nsqd was restarted or has closed the connection since the last probe. That says
                # nothing about its state now, so try once more. The same applies if it
                # refused secrets that have been replaced since.
                if not (reused and isinstance(error, OSError)) and not self._is_renewed():
                    raise
                self.close()
            return _NodeOutcome(self._exchange(self._ready(node, deadline), node.name, deadline))
        except CollectError as error:
            fault = error
            if node.tcp is not None and not node.configured:
                fault = self._trust.explained(node.tcp[0], error)
        except ssl.SSLError as error:
            text = scrub(str(error.reason or error))
            fault = CollectError("unreachable", f"TLS: {text}; check tls.ca_file")
        except OSError as error:
            reason = "timeout" if isinstance(error, TimeoutError) else "unreachable"
            text = error.strerror or str(error) or "no connection in time"
            fault = CollectError("timeout" if reason == "timeout" else "unreachable", text)
        self.close()
        where = ":".join(map(str, node.tcp)) if node.tcp is not None else node.name
        return _unsent(node.name, Problem(fault.reason, node.name, f"{where}: {fault}"))

    def close(self) -> None:
        """Close the connection; the next probe opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ready(self, node: Nsqd, deadline: Deadline) -> NsqConnection:
        if node.tcp is None:
            raise CollectError(
                "unreachable", "its TCP port is unknown, because it was not reached yet"
            )
        if self._connection is not None and self._address == node.tcp:
            return self._connection
        self.close()
        settings = self._settings
        self._given = self._secrets()
        trusted = node.configured or self._trust.covers(node.tcp[0])
        connection = NsqConnection(
            node.tcp,
            deadline,
            tls=settings.tls.context() if settings.probe_tls else None,
            server_name=settings.tls.server_name,
            secret=self._given[0] if trusted else None,
        )
        try:
            connection.subscribe(self._topic, CHANNEL, deadline)
        except BaseException:
            connection.close()
            raise
        self._connection, self._address = connection, node.tcp
        return connection

    def _secrets(self) -> tuple[str | None, bytes | None]:
        mark = self._settings.tls.mark() if self._settings.probe_tls else None
        return self._secret(), mark

    def _is_renewed(self) -> bool:
        """Return whether the secrets in the files differ from those used last."""
        try:
            return self._secrets() != self._given
        except CollectError:
            return False

    def _secret(self) -> str | None:
        settings = self._settings
        if settings.auth_secret_file is None:
            learn(settings.auth_secret or "")
            return settings.auth_secret
        try:
            key = f"sources[{settings.name}].probe.auth_secret_file"
            return read_secret(key, settings.auth_secret_file)
        except SecretFileError as error:
            raise CollectError("invalid", str(error)) from None

    def _exchange(self, connection: NsqConnection, name: str, deadline: Deadline) -> NodeProbe:
        self._number += 1
        body = b"%d" % self._number
        sent = time.monotonic()
        connection.publish(self._topic, body, deadline)
        publish = receive = None
        while publish is None or receive is None:
            frame = connection.frame(deadline)
            if frame is None:
                break
            if frame.kind == ERROR:
                raise refusal("PUB", frame.data)
            if frame.kind != MESSAGE:
                publish = frame.at - sent
                continue
            # A message that comes after its deadline is finished, so that messages do not pile up.
            # It still counts as lost.
            connection.finish(frame.data, deadline)
            if frame.data[MESSAGE_HEAD:] == body:
                receive = frame.at - sent
        if publish is None:
            self.close()  # a late answer would be taken for the answer to the next probe
            receive = None
        return NodeProbe(name, sent=True, publish=publish, receive=receive, ack=None)
