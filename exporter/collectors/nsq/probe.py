"""A message to each nsqd and back, on an ephemeral topic of the exporter's own, which goes with the connection."""

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
"""Seconds of the task's deadline that are left for everything but waiting."""
CHANNEL = f"probe{EPHEMERAL}"


class _NodeOutcome(NamedTuple):
    """What became of one probe."""

    probe: NodeProbe
    problem: Problem | None = None


def _unsent(name: str, problem: Problem) -> _NodeOutcome:
    return _NodeOutcome(NodeProbe(name, sent=False, publish=None, receive=None, ack=None), problem)


def _outcome(name: str, answer: _NodeOutcome | CollectError) -> _NodeOutcome:
    """Return what became of a probe, also of one that was given up."""
    if isinstance(answer, CollectError):
        return _unsent(name, Problem(answer.reason, name, str(answer)))
    return answer


class NsqProber:
    """Keeps a connection to each nsqd, and sends a message over it and back."""

    def __init__(self, settings: NsqSettings) -> None:
        self._settings = settings
        self._topic = f"{settings.probe_topic}-{os.urandom(4).hex()}{EPHEMERAL}"
        """Each exporter has a topic of its own, so that two don't take each other's messages."""
        self._lines: dict[str, _NodeConnection] = {}
        self._pool = FairPool()

    def run(self, nodes: Sequence[Nsqd], deadline: Deadline) -> Probes:
        """Probe all nsqds at the same time."""
        names = {node.name for node in nodes}
        for name in [name for name in self._lines if name not in names]:
            self._lines.pop(name).close()
        for node in nodes:
            self._lines.setdefault(node.name, _NodeConnection(self._settings, self._topic))
        if not nodes:
            return Probes(())
        seconds = min(self._settings.probe_deadline, max(deadline.remaining() - MARGIN, 0.1))
        until = Until(seconds)
        # Given up a little later than the probes give up themselves: what is slow then is the name's resolution.
        found = self._pool.all_at_once(
            {node.name: partial(self._lines[node.name].probe, node, until) for node in nodes},
            Until(seconds + MARGIN / 2),
            lambda outcome: outcome.probe.receive is not None,
        )
        outcomes = [_outcome(name, answer) for name, answer in found.items()]
        return Probes(
            [outcome.probe for outcome in outcomes],
            [outcome.problem for outcome in outcomes if outcome.problem is not None],
        )

    def check(self, nodes: Sequence[Nsqd], deadline: Deadline) -> list[Finding]:
        """Try a probe of each nsqd."""
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
        """Leave all nsqds."""
        self._pool.close()
        for line in self._lines.values():
            line.close()
        self._lines.clear()


class _NodeConnection:
    """The way to one nsqd and back. Used by one thread at a time."""

    def __init__(self, settings: NsqSettings, topic: str) -> None:
        self._settings = settings
        self._trust = NodeTrust(settings)
        self._topic = topic
        self._connection: NsqConnection | None = None
        self._address: tuple[str, int] | None = None
        self._number = 0
        self._given: tuple[str | None, bytes | None] = (None, None)
        """The secret, and what tells one content of the certificate files from another, as they were used last."""

    def probe(self, node: Nsqd, deadline: Deadline) -> _NodeOutcome:
        """Send one message and wait for it until the deadline. Never raises."""
        try:
            reused = self._connection is not None
            try:
                return _NodeOutcome(
                    self._exchange(self._ready(node, deadline), node.name, deadline)
                )
            except (OSError, CollectError) as error:
                # nsqd was restarted since, or has left us: that says nothing of how it is now. The same holds for a
                # refusal of secrets that have been replaced meanwhile.
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
        """Leave; a next probe connects anew."""
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
        """Tell whether the secrets that were used last are not those of the files any more."""
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
            # One that comes after its deadline is finished, so that nothing piles up, and counted as what it is: lost.
            connection.finish(frame.data, deadline)
            if frame.data[MESSAGE_HEAD:] == body:
                receive = frame.at - sent
        if publish is None:
            self.close()  # an answer that comes later would be taken for the next one's
            receive = None
        return NodeProbe(name, sent=True, publish=publish, receive=receive, ack=None)
