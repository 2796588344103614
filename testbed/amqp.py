"""AMQP 1.0 clients for RabbitMQ."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of, quote_name
from testbed.tools import ROOT, built_folder

MODULE = "github.com/Azure/go-amqp"


@contextmanager
def amqp10(
    rabbit: RabbitCluster, action: Literal["send", "receive"], queue: str, count: int
) -> Iterator[None]:
    """Send or receive `count` messages, and stay connected until the block ends.

    A receiver requests one message more at a time, so that it keeps one unaccepted.
    """
    program = built_folder("amqp", "scripts/amqp", MODULE) / "amqp"
    url = f"amqp://admin:{password_of('admin')}@127.0.0.1:{rabbit.port('amqp')}"
    command = [program, action, url, f"/queues/{quote_name(queue)}", str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "done\n", "the AMQP 1.0 client failed"
            yield
        finally:
            process.stdin.close()
