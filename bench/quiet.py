"""`python -m bench.quiet`: an hour of healthy traffic on all three systems with the alert rules.

No alert may fire. Prints a line per minute, and exits with 1 if the receiver got a notification.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.clients import Client, KafkaClient, NsqClient, RabbitClient
from testbed.alerting import Alerting
from testbed.exporter import Exporter, kafka_source, nsq_source, rabbit_source
from testbed.kafka import KafkaCluster
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaCluster())
        rabbit = stack.enter_context(RabbitCluster())
        nsq = stack.enter_context(NsqCluster(1, 1))
        clients: list[Client] = [
            KafkaClient(kafka, "kafka-a"),
            RabbitClient(rabbit, "rabbit-0", 0),
            NsqClient(nsq, "nsq-0", "nsqd-0"),
        ]
        sources = [
            kafka_source(kafka.bootstrap, "kafka"),
            rabbit_source(rabbit, "rabbit"),
            nsq_source(nsq, "nsq"),
        ]
        folder = Path(tempfile.mkdtemp(prefix="mq-lag-exporter-quiet-"))
        defaults = {"schedule": {}, "rate_window": "2m"}
        exporter = stack.enter_context(Exporter(folder, sources, defaults=defaults))
        alerting = stack.enter_context(Alerting(folder, f"127.0.0.1:{exporter.port}", scale=1))
        for client in clients:
            client.start()
            stack.callback(client.stop)
        began = time.monotonic()
        statuses: dict[str, int] = {}
        while time.monotonic() - began < options.minutes * 60:
            time.sleep(60)
            for labels, value in exporter.scrape().find("mq_subscription_status").items():
                if value:
                    status = dict(labels)["status"]
                    statuses[status] = statuses.get(status, 0) + 1
            sent, told = sum(len(c.sent) for c in clients), alerting.receiver.notifications
            print(
                f"{(time.monotonic() - began) / 60:3.0f} min: {sent} messages, "
                f"{len(told)} notifications, "
                f"statuses seen {statuses}, firing {alerting.firing() or 'nothing'}",
                flush=True,
            )
        for each in alerting.receiver.notifications:
            print(dict(each.labels), sorted(each.names()), each.text)
        return int(bool(alerting.receiver.notifications))


if __name__ == "__main__":
    sys.exit(main())
