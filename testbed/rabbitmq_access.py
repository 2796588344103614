"""Addresses, users, permissions and the management API of the tests' RabbitMQ clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from testbed.certificates import Certificates
from testbed.rabbitmq_config import PASSWORDS, NodeLayout


class RabbitAccess:
    """How clients reach a running cluster. Its subclass starts the nodes and sets the fields."""

    _layouts: list[NodeLayout]
    _certificates: Certificates | None

    # Addresses and credentials

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(layout.number for layout in self._layouts)

    @property
    def certificates(self) -> Certificates:
        assert self._certificates, "only with tls"
        return self._certificates

    @property
    def ca_file(self) -> Path:
        assert self._certificates, "only with tls"
        return self._certificates.ca

    def name(self, node: int = 0) -> str:
        """RabbitMQ's name of a node."""
        return self._layouts[node].name

    def port(self, listener: str, node: int = 0) -> int:
        """One of PORTS."""
        return self._layouts[node].ports[listener]

    def log_file(self, node: int = 0) -> Path:
        return self._layouts[node].folder / "log"

    def amqp_url(
        self, user: str = "admin", vhost: str = "/", node: int = 0, *, tls: bool = False
    ) -> str:
        """URL with the user's password."""
        scheme, listener = ("amqps", "amqps") if tls else ("amqp", "amqp")
        login = f"{quote(user, safe='')}:{quote(password_of(user), safe='')}"
        address = f"127.0.0.1:{self.port(listener, node)}"
        return f"{scheme}://{login}@{address}/{quote(vhost, safe='')}"

    def management_url(self, node: int = 0, *, tls: bool = False) -> str:
        """URL without a path."""
        if tls:
            return f"https://127.0.0.1:{self.port('management_tls', node)}"
        return f"http://127.0.0.1:{self.port('management', node)}"

    def prometheus_url(self, node: int = 0) -> str:
        """URL without a path."""
        return f"http://127.0.0.1:{self.port('prometheus', node)}"

    # The management API

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = "admin",
        node: int = 0,
        timeout_seconds: float = 30.0,
    ) -> Any:
        """The response as JSON, None if it is empty.

        Raises `requests.RequestException` for any failure.

        The path is the part after `/api/`, with quoted names (`quote_name`).
        """
        response = requests.request(
            method,
            f"{self.management_url(node)}/api/{path}",
            json=body,
            auth=(user, password_of(user)),
            timeout=timeout_seconds,
        )
        response.raise_for_status()
        return response.json() if response.content else None

    # Users, rights and vhosts

    def add_user(self, name: str, *, tags: str = "") -> None:
        """Add a user with the password of `password_of`; tags are separated by commas."""
        body = {"password": password_of(name), "tags": tags}
        self.api("PUT", f"users/{quote_name(name)}", body)

    def allow(
        self,
        user: str,
        vhost: str = "/",
        *,
        configure: str = ".*",
        write: str = ".*",
        read: str = ".*",
    ) -> None:
        """Replace the permissions in a vhost; they are patterns of queue and exchange names."""
        self.api(
            "PUT",
            f"permissions/{quote_name(vhost)}/{quote_name(user)}",
            {"configure": configure, "write": write, "read": read},
        )

    def disallow(self, user: str, vhost: str = "/") -> None:
        """Remove all permissions in a vhost."""
        self.api("DELETE", f"permissions/{quote_name(vhost)}/{quote_name(user)}")

    def add_vhost(self, name: str) -> None:
        """Add a vhost in which `admin` may do anything."""
        self.api("PUT", f"vhosts/{quote_name(name)}", {})
        self.allow("admin", name)

    def delete_vhost(self, name: str) -> None:
        """Delete a vhost and all its queues."""
        self.api("DELETE", f"vhosts/{quote_name(name)}")


def password_of(user: str) -> str:
    """NAME-secret."""
    return PASSWORDS.get(user, f"{user}-secret")


def quote_name(name: str) -> str:
    """A name as one segment of a URL's path."""
    return quote(name, safe="")
