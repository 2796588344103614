"""Probes: each round sends a message to every broker, receives it and commits it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.client_factory import make_client
from exporter.collectors.kafka.errors import describe
from exporter.collectors.kafka.login.mechanisms import KafkaLogin
from exporter.collectors.kafka.probe.channel import Arrival, Channel, ProbeInFlight
from exporter.collectors.kafka.probe.commits import ProbeCommits
from exporter.collectors.kafka.probe.layout import (
    Layout,
    ProbeTarget,
    RemovedBrokers,
    assign_targets,
    read_layout,
)
from exporter.collectors.kafka.probe.topic import (
    DENIED,
    DENIED_IF_REQUIRED,
    ProbeObstacle,
    ProbeTopic,
)
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError, Deadline, NodeProbe, Probes, Problem, Roster, Until

MARGIN = 0.5
"""Seconds of the task's time that a round does not use."""
RECEIVE_SECONDS = 0.02
"""Timeout in seconds of each receive call in a round."""
VAIN_ROUNDS = 3
"""Rounds in a row without a received message after which the clients are replaced."""
CLOSE_SECONDS = 0.8
"""Seconds for the cleanup at the end."""
NONE = Probes(())


class Prober:
    """Probes one cluster.

    Rounds run one at a time, in any thread; `close` may run in another one.
    """

    def __init__(self, settings: KafkaSettings, login: KafkaLogin, *, administers: bool) -> None:
        """`administers` is whether the cluster can create topics and delete groups."""
        self._settings = settings
        self._administers = administers
        self._client = KafkaClient(settings.name, login.properties)
        self._topic = ProbeTopic(self._client, settings)
        self._commits = ProbeCommits(
            self._client, settings.probe_topic, settings.name, deletes=administers
        )
        self._layout: Layout | None = None
        self._roster: Roster | None = None
        self._removed = RemovedBrokers()
        self._fault: CollectError | None = None
        self._waits = False
        self._targets: tuple[ProbeTarget, ...] = ()
        self._channel: Channel | None = None
        self._made_for = (0, 0)
        self._vain = 0
        self._renews = False
        """Whether new clients are needed because the secrets were replaced."""
        self._denied: ProbeObstacle | None = None
        self._denied_until = 0.0
        self._logged: set[str] = set()
        self._numbers = itertools.count(1)
        self._round = threading.Lock()
        self._closed = threading.Event()
        self._log = structlog.get_logger(__name__).bind(
            source=settings.name, topic=settings.probe_topic
        )

    def observe(self, metadata: ClusterMetadata, roster: Roster) -> None:
        """Store the probes' layout from the cluster's metadata, and the cluster's brokers."""
        if self._settings.probe is not False:
            self._roster = roster
            self._layout = read_layout(metadata, self._settings.probe_topic)

    def observe_failure(self, fault: CollectError) -> None:
        """Store why the cluster's metadata was not read."""
        self._fault = fault

    def due_early(self) -> bool:
        """Return whether the metadata became known after a round had to be skipped without it."""
        due = self._waits and self._layout is not None
        if due:
            self._waits = False
        return due

    def run(self, deadline: Deadline) -> Probes:
        """Probe each broker once; return no results before the metadata is known.

        Raises `CollectError` if the clients cannot be made, or if reading the metadata failed and
        never succeeded.
        """
        layout = self._layout
        if self._settings.probe is False:
            return NONE
        if layout is None:
            self._waits = True
            if self._fault is not None:
                raise CollectError(self._fault.reason, str(self._fault))
            return NONE
        with self._round:
            if self._closed.is_set():
                return NONE
            return self._run(layout, deadline)

    def renew(self) -> None:
        """Use new clients from the next round. Any thread may call it."""
        self._renews = True
        self._denied_until = 0.0
        self._client.renew()
        self._commits.renew()

    def close(self) -> None:
        """Delete the groups and close the clients, within about a second."""
        until = Until(CLOSE_SECONDS)
        self._closed.set()
        # A round in progress ends at once, so that it does not commit to a deleted group.
        if self._round.acquire(timeout=until.remaining()):
            try:
                self._commits.delete(until)
                self._end_channel()
            finally:
                self._round.release()
        self._client.drop()

    def _run(self, layout: Layout, deadline: Deadline) -> Probes:
        if self._administers:
            layout = self._topic.ensure(layout, deadline)
        roster = self._roster
        gone = self._removed.update(roster, self._targets)
        self._targets = assign_targets(self._targets, layout, time.monotonic(), gone)
        self._topic.log_orphans(layout, roster)
        obstacle = self._topic.obstacle
        if obstacle is None and time.monotonic() < self._denied_until:
            obstacle = self._denied
        if obstacle is not None or not self._targets:
            return Probes((), self._problems(obstacle, layout), roster)
        probes = self._run_round(self._open(layout), layout, deadline)
        if self._closed.is_set():
            return NONE
        obstacle = self._missing_right()
        if obstacle is not None:
            return Probes((), self._problems(obstacle, layout), roster)
        return Probes(
            [_node_probe(each, probes.get(each.broker)) for each in self._targets],
            self._problems(None, layout),
            roster,
        )

    # The clients

    def _open(self, layout: Layout) -> Channel:
        """Return the clients; replace them if they are outdated or broken."""
        known = (self._topic.generation, len(layout.partitions or ()))
        channel = self._channel
        if channel is not None and (
            self._renews
            or channel.faults.is_broken
            or known != self._made_for
            or self._vain >= VAIN_ROUNDS
        ):
            self._end_channel()
        self._renews = False
        if self._channel is None:
            try:
                self._channel = make_client(
                    lambda given: Channel(
                        given, self._settings.probe_topic, self._settings.probe_deadline
                    ),
                    self._client.properties,
                )
            except KafkaException as error:
                raise self._client.fault(error) from None
            self._made_for, self._vain = known, 0
        return self._channel

    def _end_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _missing_right(self) -> ProbeObstacle | None:
        """Return the right that this round found missing."""
        denied = self._channel.faults.denied if self._channel is not None else None
        if denied is None:
            self._denied = None
            return None
        self._end_channel()
        pause = DENIED_IF_REQUIRED if self._settings.probe else DENIED
        self._denied_until = time.monotonic() + pause
        advice = f"give the user Read and Write on the topic {self._settings.probe_topic}"
        self._denied = ProbeObstacle("unauthorized", describe(denied, advice))
        return self._denied

    # One round

    def _run_round(
        self, channel: Channel, layout: Layout, deadline: Deadline
    ) -> dict[int, ProbeInFlight]:
        """Send a message to each broker and wait for the results; return the probes by broker."""
        is_new = self._commits.begin()
        channel.drain()
        ends = time.perf_counter() + deadline.remaining() - MARGIN
        targets = {each.broker: each for each in self._targets if each.partition is not None}
        probes = {
            broker: self._send(channel, each, ends, greets=is_new)
            for broker, each in targets.items()
        }
        while not self._closed.is_set():
            for broker, probe in probes.items():
                number = targets[broker].partition
                if probe.greets and number is not None:
                    if probe.offset is not None and not channel.is_receiving(number):
                        channel.start_receiving(number, probe.offset)
                    if probe.has_greeted() and ends - time.perf_counter() > probe.limit / 2:
                        probes[broker] = self._send(channel, targets[broker], ends)
            if all(probe.is_over() for probe in probes.values()):
                break
            arrival = channel.receive(RECEIVE_SECONDS)
            if arrival is not None:
                self._handle_arrival(arrival, probes, layout)
        self._finish_round(channel, targets, probes)
        return probes

    def _send(
        self, channel: Channel, to: ProbeTarget, ends: float, *, greets: bool = False
    ) -> ProbeInFlight:
        """Send a message to a broker.

        If it opens the connections, a second one is sent and timed.
        """
        number = to.partition or 0
        limit = min(self._settings.probe_deadline, max(ends - time.perf_counter(), 0.0))
        probe = ProbeInFlight(
            next(self._numbers), limit, greets=greets or not channel.is_receiving(number)
        )
        channel.send(probe, number)
        return probe

    def _handle_arrival(
        self, arrival: Arrival, probes: dict[int, ProbeInFlight], layout: Layout
    ) -> None:
        for broker, probe in probes.items():
            if probe.sequence == arrival.sequence and probe.received():
                probe.awaits_ack = True
                position = (arrival.partition, arrival.offset + 1)
                if not self._commits.commit(broker, layout.coordinators, position, probe.acked):
                    probe.awaits_ack = False

    def _finish_round(
        self, channel: Channel, targets: dict[int, ProbeTarget], probes: dict[int, ProbeInFlight]
    ) -> None:
        """Leave partitions whose message was not received; the next round rejoins them."""
        for broker, probe in probes.items():
            number = targets[broker].partition
            if number is not None and probe.publish is not None and probe.receive is None:
                channel.stop_receiving(number)
        came = any(probe.receive is not None for probe in probes.values())
        self._vain = 0 if came else self._vain + 1

    # Problems

    def _problems(self, obstacle: ProbeObstacle | None, layout: Layout) -> Sequence[Problem]:
        """Return the problems if the config requires probes; log each problem once."""
        found: list[Problem] = []
        subject = f"probe topic {self._settings.probe_topic}"
        if obstacle is not None:
            found.append(Problem(obstacle.reason, subject, obstacle.message))
        elif layout.partitions is not None:
            covered = {each.broker for each in self._targets}
            left = [name for broker, name in layout.nodes.items() if broker not in covered]
            if left:
                why = self._topic.refusal or "they lead no partition of it"
                message = f"no probe of {', '.join(sorted(left))}: {why}"
                found.append(Problem("partial", subject, message))
        for problem in found:
            if problem.message not in self._logged:
                event = "probe.not_possible" if obstacle is not None else "probe.not_covered"
                self._log.info(event, error=problem.message)
        self._logged = {problem.message for problem in found}
        return found if self._settings.probe else ()


def _node_probe(at: ProbeTarget, probe: ProbeInFlight | None) -> NodeProbe:
    if probe is None:
        return NodeProbe(at.node, sent=False, publish=None, receive=None, ack=None)
    return NodeProbe(
        at.node, sent=True, publish=probe.publish, receive=probe.receive, ack=probe.ack
    )
