"""The process of one collector: runs what it is asked to, until nobody is there to ask."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

# structlog loads rich where it finds it, for tracebacks that are not wanted here: 12 MB in each process.
sys.modules["rich"] = None  # type: ignore[assignment]

import structlog  # noqa: E402

from exporter import logs  # noqa: E402
from exporter.collectors.kafka.settings import KafkaSettings  # noqa: E402
from exporter.collectors.nsq.settings import NsqSettings  # noqa: E402
from exporter.collectors.wire import CLOSE, READY, Answer, Request, Setup  # noqa: E402
from exporter.model import CollectError, Collector, Until  # noqa: E402


def main() -> None:
    """Serve requests from the connection that the command line names."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        # A terminal or a supervisor signals all of the daemon's processes; the daemon decides when this one ends.
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    setup: Setup = connection.recv()
    logs.configure(setup.log_format, setup.log_level)
    collector = _collector(setup)
    lock = threading.Lock()
    connection.send(Answer(READY))
    try:
        while True:
            request: Request = connection.recv()
            threading.Thread(
                target=_serve, args=(collector, request, connection, lock), daemon=True
            ).start()
    except (EOFError, OSError):
        # The daemon is gone or has closed this source. Nothing here needs to be put in order, and a broker that
        # hangs would keep the clients from ending.
        os._exit(0)


def _collector(setup: Setup) -> Collector:
    """Return the system's collector; a process loads the libraries of its own system only."""
    settings = setup.settings
    if isinstance(settings, KafkaSettings):
        from exporter.collectors.kafka.collector import KafkaCollector  # noqa: PLC0415

        return KafkaCollector(settings)
    if isinstance(settings, NsqSettings):
        from exporter.collectors.nsq.collector import NsqCollector  # noqa: PLC0415

        return NsqCollector(settings)
    from exporter.collectors.rabbitmq.collector import RabbitCollector  # noqa: PLC0415

    return RabbitCollector(settings)


def _serve(
    collector: Collector, request: Request, connection: Connection, lock: threading.Lock
) -> None:
    answer = _answer(collector, request)
    with lock:
        try:
            connection.send(answer)
        except OSError:
            os._exit(0)


def _answer(collector: Collector, request: Request) -> Answer:
    deadline = Until(request.until - time.monotonic())
    try:
        if request.task == "check":
            return Answer(request.number, collector.check(deadline))
        if request.task == CLOSE:
            collector.close()
            return Answer(request.number)
        observation = collector.tasks[request.task](deadline)
    except CollectError as error:
        return Answer(request.number, failure=(error.reason, str(error)))
    except Exception as error:  # noqa: BLE001 - a bug in one task must not end the others
        structlog.get_logger(__name__).exception("task.crashed", task=request.task)
        return Answer(request.number, failure=("internal", f"{type(error).__name__}: {error}"))
    early = frozenset(task for task in collector.tasks if collector.due_early(task))
    return Answer(request.number, observation, early=early)


if __name__ == "__main__":
    main()
