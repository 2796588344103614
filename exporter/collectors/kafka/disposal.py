"""Ends librdkafka clients in threads of their own.

Ending a client joins its threads. One of them may be in `getaddrinfo`, which cannot be interrupted
and takes 10 seconds or more if no name server answers. A task must not wait for that.
"""

from __future__ import annotations

import contextlib
import threading

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

Client = AdminClient | Consumer | Producer


def dispose(clients: list[Client | None]) -> None:
    """Empty the list in another thread; consumers are closed.

    Admin clients and producers end with their last reference, and whoever drops it waits. So the
    list must hold the only one.
    """
    if all(client is None for client in clients):
        return
    thread = threading.Thread(target=_end, args=(clients,), name="kafka/disposal", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread can be started
        _end(clients)


def _end(clients: list[Client | None]) -> None:
    while clients:
        client = clients.pop()
        if client is not None and not isinstance(client, AdminClient | Producer):
            with contextlib.suppress(KafkaException, RuntimeError):
                client.close()
        del client
