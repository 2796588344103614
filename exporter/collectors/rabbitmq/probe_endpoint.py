"""The AMQP address of one RabbitMQ node, with the login and certificates to connect to it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pika

from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import CollectError

HEARTBEAT_LEAST = 60
"""Least heartbeat in seconds. pika is not run between two probes, so the heartbeat must be longer
than their interval.
"""


class Endpoint:
    """Where a probe connects to, and how. Used by one thread at a time."""

    def __init__(self, settings: RabbitSettings, url: str) -> None:
        self._settings = settings
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "amqps"
        self._port = parts.port or (5671 if self._tls else 5672)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.node = f"{host}:{self._port}"
        """Host and port, which is the node's name in the metrics."""
        self._given: tuple[tuple[str, str] | None, bytes | None] = (None, None)
        """The login and the fingerprint of the certificate files that were used last."""

    def parameters(self) -> pika.ConnectionParameters:
        """Return the connection parameters with the current secrets.

        Raises `CollectError` if these cannot be read.
        """
        settings = self._settings
        self._given = self._secrets()
        login = self._given[0]
        found = pika.ConnectionParameters(
            host=self._host,
            port=self._port,
            virtual_host=settings.probe_vhost,
            heartbeat=max(HEARTBEAT_LEAST, int(settings.probe_interval * 3)),
            socket_timeout=settings.probe_deadline,
            stack_timeout=settings.probe_deadline,
            blocked_connection_timeout=None,
            connection_attempts=1,
            client_properties={"connection_name": f"mq-lag-exporter probe@{socket.gethostname()}"},
        )
        if login is not None:
            found.credentials = pika.PlainCredentials(*login)
        if self._tls:
            found.ssl_options = pika.SSLOptions(
                settings.tls.context(), settings.tls.server_name or self._host
            )
        return found

    def is_renewed(self) -> bool:
        """Return whether the secrets in the files differ from those used last."""
        try:
            return self._secrets() != self._given
        except CollectError:
            return False

    def _secrets(self) -> tuple[tuple[str, str] | None, bytes | None]:
        settings = self._settings
        mark = settings.tls.mark() if self._tls else None
        return settings.login.read(f"sources[{settings.name}]"), mark
