"""A workload on a topic and a channel of an nsqd."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

import requests

from exporter.collectors.http_sessions import Adapter
from exporter.collectors.nsq.protocol import MESSAGE, MESSAGE_HEAD, NsqConnection, said
from exporter.load.clients import Delivery, LoadError, Receiver, Sender
from exporter.model import CollectError, Until

PATIENCE = 10.0
QUIET_SECONDS = 0.1
SIZE = struct.Struct(">i")


def nsq_workload(
    address: str, destination: str, group: str, retention: float | None
) -> NsqWorkload:
    """Return the workload (`systems.System.workload`); nothing is connected yet."""
    if retention is not None:
        raise LoadError("--retention applies to Kafka topics only")
    return NsqWorkload(address, destination, group)


class NsqWorkload:
    """A topic and a channel of one nsqd. The address is that of its HTTP port."""

    broken = (requests.RequestException, CollectError, OSError)

    def __init__(self, address: str, topic: str, channel: str) -> None:
        self._url = address.rstrip("/")
        self._topic = topic
        self._channel = channel
        self._tcp = ("", 0)

    def prepare(self, consumers: int) -> None:
        """Create the topic and the channel."""
        del consumers
        names = f"topic={quote(self._topic)}"
        try:
            with _session() as session:
                found = session.get(f"{self._url}/info", timeout=PATIENCE)
                found.raise_for_status()
                self._tcp = (urlsplit(self._url).hostname or "", int(found.json()["tcp_port"]))
                for path in (
                    f"topic/create?{names}",
                    f"channel/create?{names}&channel={quote(self._channel)}",
                ):
                    answer = session.post(f"{self._url}/{path}", timeout=PATIENCE)
                    if answer.status_code == requests.codes.bad_request:
                        raise LoadError(f"nsqd rejected {path.partition('?')[2]}: {_said(answer)}")
                    answer.raise_for_status()
        except (requests.RequestException, KeyError, ValueError) as error:
            raise LoadError(
                f"cannot use nsqd ({type(error).__name__}); check the address of its HTTP port, "
                f"such as http://localhost:4151"
            ) from None

    def sender(self) -> Sender:
        """Connect a publisher."""
        return _NsqSender(self._url, self._topic)

    def receiver(self) -> Receiver:
        """Connect a consumer."""
        return _NsqReceiver(self._tcp, self._topic, self._channel)


def _session() -> requests.Session:
    """Return a session that closes its connections in `close`."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session


def _said(answer: requests.Response) -> str:
    """Return nsqd's error for an invalid name, such as INVALID_TOPIC."""
    try:
        return str(answer.json()["message"])[:100]
    except (ValueError, KeyError, TypeError):
        return answer.reason


class _NsqSender:
    def __init__(self, url: str, topic: str) -> None:
        self._session = _session()
        self._address = f"{url}/mpub?topic={quote(topic)}&binary=true"

    def send(self, bodies: Sequence[bytes]) -> int:
        parts = [SIZE.pack(len(bodies))]
        for body in bodies:
            parts += (SIZE.pack(len(body)), body)
        answer = self._session.post(self._address, b"".join(parts), timeout=PATIENCE)
        return 0 if answer.ok else len(bodies)

    def close(self) -> int:
        self._session.close()
        return 0


class _NsqReceiver:
    def __init__(self, address: tuple[str, int], topic: str, channel: str) -> None:
        self._connection = NsqConnection(address, Until(PATIENCE))
        try:
            self._connection.subscribe(topic, channel, Until(PATIENCE))
        except BaseException:
            self._connection.close()
            raise

    def receive(self, seconds: float) -> Delivery | None:
        frame = self._connection.frame(Until(seconds))
        if frame is None:
            return None
        if frame.kind != MESSAGE:
            raise CollectError("invalid", f"nsqd says {said(frame.data)}")
        return Delivery(frame.data[MESSAGE_HEAD:], frame.data)

    def finish(self, delivery: Delivery) -> None:
        self._connection.finish(delivery.handle, Until(PATIENCE))

    def reject(self, delivery: Delivery) -> None:
        self._connection.requeue(delivery.handle, Until(PATIENCE))

    def close(self) -> None:
        # nsqd delivers messages in flight again only when they time out a minute later, so requeue
        # them.
        try:
            self._connection.pause(Until(PATIENCE))
            while (frame := self._connection.frame(Until(QUIET_SECONDS))) is not None:
                if frame.kind == MESSAGE:
                    self._connection.requeue(frame.data, Until(PATIENCE))
        finally:
            self._connection.close()
