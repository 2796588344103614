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
from exporter.collectors.kafka.client_making import made
from exporter.collectors.kafka.errors import describe
from exporter.collectors.kafka.login.mechanisms import Login
from exporter.collectors.kafka.probe.channel import Arrival, Channel, Flight
from exporter.collectors.kafka.probe.commits import Commits
from exporter.collectors.kafka.probe.layout import Departures, Layout, Place, place, read_layout
from exporter.collectors.kafka.probe.topic import DENIED, DENIED_IF_REQUIRED, Lack, ProbeTopic
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError, Deadline, NodeProbe, Probes, Problem, Roster, Until

MARGIN = 0.5
"""Seconds of the task's time that a round does not use."""
LOOK = 0.02
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

    def __init__(self, settings: KafkaSettings, login: Login, *, administers: bool) -> None:
        """`administers` is whether the cluster can create topics and delete groups."""
        self._settings = settings
        self._administers = administers
        self._client = KafkaClient(settings.name, login.properties)
        self._topic = ProbeTopic(self._client, settings)
        self._commits = Commits(
            self._client, settings.probe_topic, settings.name, deletes=administers
        )
        self._layout: Layout | None = None
        self._roster: Roster | None = None
        self._departures = Departures()
        self._fault: CollectError | None = None
        self._waits = False
        self._places: tuple[Place, ...] = ()
        self._channel: Channel | None = None
        self._made_for = (0, 0)
        self._vain = 0
        self._renews = False
        """Whether new clients are needed because the secrets were replaced."""
        self._denied: Lack | None = None
        self._denied_until = 0.0
        self._told: set[str] = set()
        self._numbers = itertools.count(1)
        self._round = threading.Lock()
        self._closed = threading.Event()
        self._log = structlog.get_logger(__name__).bind(
            source=settings.name, topic=settings.probe_topic
        )

    def see(self, metadata: ClusterMetadata, roster: Roster) -> None:
        """Store the probes' layout from the cluster's metadata, and the cluster's brokers."""
        if self._settings.probe is not False:
            self._roster = roster
            self._layout = read_layout(metadata, self._settings.probe_topic)

    def miss(self, fault: CollectError) -> None:
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
        gone = self._departures.after(roster, self._places)
        self._places = place(self._places, layout, time.monotonic(), gone)
        self._topic.tell_orphans(layout, roster)
        lack = self._topic.lack
        if lack is None and time.monotonic() < self._denied_until:
            lack = self._denied
        if lack is not None or not self._places:
            return Probes((), self._problems(lack, layout), roster)
        flights = self._fly(self._open(layout), layout, deadline)
        if self._closed.is_set():
            return NONE
        lack = self._judge()
        if lack is not None:
            return Probes((), self._problems(lack, layout), roster)
        return Probes(
            [_probe(each, flights.get(each.broker)) for each in self._places],
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
                self._channel = made(
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

    def _judge(self) -> Lack | None:
        """Return the right that this round found missing."""
        denied = self._channel.faults.denied if self._channel is not None else None
        if denied is None:
            self._denied = None
            return None
        self._end_channel()
        pause = DENIED_IF_REQUIRED if self._settings.probe else DENIED
        self._denied_until = time.monotonic() + pause
        advice = f"give the user Read and Write on the topic {self._settings.probe_topic}"
        self._denied = Lack("unauthorized", describe(denied, advice))
        return self._denied

    # One round

    def _fly(self, channel: Channel, layout: Layout, deadline: Deadline) -> dict[int, Flight]:
        """Send a message to each broker and wait for the results; return the probes by broker."""
        is_new = self._commits.begin()
        channel.drain()
        ends = time.perf_counter() + deadline.remaining() - MARGIN
        places = {each.broker: each for each in self._places if each.partition is not None}
        flights = {
            broker: self._send(channel, each, ends, greets=is_new)
            for broker, each in places.items()
        }
        while not self._closed.is_set():
            for broker, flight in flights.items():
                number = places[broker].partition
                if flight.greets and number is not None:
                    if flight.offset is not None and not channel.hears(number):
                        channel.hear(number, flight.offset)
                    if flight.has_greeted() and ends - time.perf_counter() > flight.limit / 2:
                        flights[broker] = self._send(channel, places[broker], ends)
            if all(flight.is_over() for flight in flights.values()):
                break
            arrival = channel.receive(LOOK)
            if arrival is not None:
                self._take(arrival, flights, layout)
        self._settle(channel, places, flights)
        return flights

    def _send(self, channel: Channel, to: Place, ends: float, *, greets: bool = False) -> Flight:
        """Send a message to a broker.

        If it opens the connections, a second one is sent and timed.
        """
        number = to.partition or 0
        limit = min(self._settings.probe_deadline, max(ends - time.perf_counter(), 0.0))
        flight = Flight(next(self._numbers), limit, greets=greets or not channel.hears(number))
        channel.send(flight, number)
        return flight

    def _take(self, arrival: Arrival, flights: dict[int, Flight], layout: Layout) -> None:
        for broker, flight in flights.items():
            if flight.sequence == arrival.sequence and flight.received():
                flight.awaits_ack = True
                position = (arrival.partition, arrival.offset + 1)
                if not self._commits.commit(broker, layout.coordinators, position, flight.acked):
                    flight.awaits_ack = False

    def _settle(
        self, channel: Channel, places: dict[int, Place], flights: dict[int, Flight]
    ) -> None:
        """Leave partitions whose message was not received; the next round rejoins them."""
        for broker, flight in flights.items():
            number = places[broker].partition
            if number is not None and flight.publish is not None and flight.receive is None:
                channel.leave(number)
        came = any(flight.receive is not None for flight in flights.values())
        self._vain = 0 if came else self._vain + 1

    # Problems

    def _problems(self, lack: Lack | None, layout: Layout) -> Sequence[Problem]:
        """Return the problems if the config requires probes; log each problem once."""
        found: list[Problem] = []
        subject = f"probe topic {self._settings.probe_topic}"
        if lack is not None:
            found.append(Problem(lack.reason, subject, lack.message))
        elif layout.partitions is not None:
            covered = {each.broker for each in self._places}
            left = [name for broker, name in layout.nodes.items() if broker not in covered]
            if left:
                why = self._topic.refusal or "they lead no partition of it"
                message = f"no probe of {', '.join(sorted(left))}: {why}"
                found.append(Problem("partial", subject, message))
        for problem in found:
            if problem.message not in self._told:
                event = "probe.not_possible" if lack is not None else "probe.not_covered"
                self._log.info(event, error=problem.message)
        self._told = {problem.message for problem in found}
        return found if self._settings.probe else ()


def _probe(at: Place, flight: Flight | None) -> NodeProbe:
    if flight is None:
        return NodeProbe(at.node, sent=False, publish=None, receive=None, ack=None)
    return NodeProbe(
        at.node, sent=True, publish=flight.publish, receive=flight.receive, ack=flight.ack
    )
