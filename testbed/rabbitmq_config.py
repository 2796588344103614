"""The configuration of the tests' RabbitMQ nodes: listeners, users, certificates, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.certificates import Certificates

PROTOCOLS = {
    "amqp": "amqp",
    "management": "http",
    "prometheus": "http/prometheus",
    "stream": "stream",
    "amqps": "amqp/ssl",
    "management_tls": "https",
}
"""The listeners of a node, and RabbitMQ's name of the protocol of each; the last two use TLS."""

TLS_LISTENERS = ("amqps", "management_tls")

PLUGIN_OF_LISTENER = {
    "management": "rabbitmq_management",
    "management_tls": "rabbitmq_management",
    "prometheus": "rabbitmq_prometheus",
    "stream": "rabbitmq_stream",
}
"""Plugins that a listener needs; the others always exist."""

PLUGINS = (
    "rabbitmq_management",
    "rabbitmq_prometheus",
    "rabbitmq_stream",
    "rabbitmq_stream_management",
)

PORTS = (*PROTOCOLS, "distribution")

PASSWORDS = {"admin": "admin-secret", "restricted": "restricted-secret"}
"""Users from the start. `admin` may do anything. `restricted` has the tag `monitoring`, so it sees
the cluster's numbers, and has no permissions in any vhost.
"""

QUICK_STATISTICS = {
    "collect_statistics_interval": "500",
    "management.db_cache_multiplier": "1",
    **{
        f"management.sample_retention_policies.{policy}.minute": "1"
        for policy in ("global", "basic", "detailed")
    },
}
"""Settings with which the management API shows changes within a second."""

QUICK_APPLICATION_STATISTICS = {
    "rabbit": {"quorum_tick_interval": "500", "stream_tick_interval": "500"}
}
"""Settings without a key in rabbitmq.conf."""


@dataclass(frozen=True)
class NodeLayout:
    """The number, the folder and the ports (for each of PORTS) of one node."""

    number: int
    folder: Path
    ports: Mapping[str, int]

    @property
    def name(self) -> str:
        """The Erlang name; an address instead of a host name needs no look-up."""
        return f"rabbit-{self.number}@127.0.0.1"


def listeners_of(plugins: Sequence[str], *, tls: bool) -> tuple[str, ...]:
    """The listeners that a node with these plugins opens."""
    return tuple(
        name
        for name in PROTOCOLS
        if (tls or name not in TLS_LISTENERS)
        and (name not in PLUGIN_OF_LISTENER or PLUGIN_OF_LISTENER[name] in plugins)
    )


def write_config(
    node: NodeLayout,
    all_nodes: Sequence[NodeLayout],
    plugins: Sequence[str],
    certificates: Certificates | None,
    settings: Mapping[str, str],
    application_settings: Mapping[str, Mapping[str, str]],
) -> None:
    """Write rabbitmq.conf, advanced.config, enabled_plugins and inetrc to the node's folder."""
    properties = {
        **_network(node, listeners_of(plugins, tls=certificates is not None)),
        **(_tls(certificates, "rabbitmq_management" in plugins) if certificates else {}),
        **(_formation(node, all_nodes) if len(all_nodes) > 1 else {}),
        **_USERS,
        **_QUICK,
        **settings,
    }
    files = {
        "rabbitmq.conf": "".join(f"{key} = {value}\n" for key, value in properties.items()),
        "advanced.config": _erlang_terms(application_settings),
        "enabled_plugins": f"[{','.join(plugins)}].\n",
        "inetrc": "{lookup, [file]}.\n",  # otherwise a separate process resolves names
    }
    for name, text in files.items():
        (node.folder / name).write_text(text)


def _network(node: NodeLayout, listeners: Sequence[str]) -> dict[str, str]:
    ports = node.ports
    every = {
        "amqp": {"listeners.tcp.1": f"127.0.0.1:{ports['amqp']}"},
        "amqps": {"listeners.ssl.1": f"127.0.0.1:{ports['amqps']}"},
        "management": {
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(ports["management"]),
        },
        "management_tls": {
            "management.ssl.ip": "127.0.0.1",
            "management.ssl.port": str(ports["management_tls"]),
        },
        "prometheus": {
            "prometheus.tcp.ip": "127.0.0.1",
            "prometheus.tcp.port": str(ports["prometheus"]),
        },
        "stream": {
            "stream.listeners.tcp.1": f"127.0.0.1:{ports['stream']}",
            "stream.advertised_host": "127.0.0.1",
            "stream.advertised_port": str(ports["stream"]),
        },
    }
    return {key: value for name in listeners for key, value in every[name].items()}


def _tls(certificates: Certificates, management: bool) -> dict[str, str]:
    """Both listeners use the certificate, and request none from clients."""
    prefixes = ("ssl_options", "management.ssl") if management else ("ssl_options",)
    return {
        f"{prefix}.{key}": str(file)
        for prefix in prefixes
        for key, file in {
            "cacertfile": certificates.ca,
            "certfile": certificates.server,
            "keyfile": certificates.server,
        }.items()
    }


def _formation(node: NodeLayout, all_nodes: Sequence[NodeLayout]) -> dict[str, str]:
    """A new node joins the first; nodes that lost each other reconnect.

    Nodes that start at the same time take locks for which the others wait up to ten seconds.
    """
    formation = {"cluster_partition_handling": "autoheal"}
    if node.number > 0:
        formation["cluster_formation.peer_discovery_backend"] = "classic_config"
        for i, member in enumerate((all_nodes[0], node), 1):
            formation[f"cluster_formation.classic_config.nodes.{i}"] = member.name
    return formation


def _erlang_terms(settings: Mapping[str, Mapping[str, str]]) -> str:
    applications = (
        f"{{{application}, [{', '.join(f'{{{key}, {value}}}' for key, value in keys.items())}]}}"
        for application, keys in settings.items()
    )
    return f"[{', '.join(applications)}].\n"


_USERS = {
    "default_user": "admin",
    "default_pass": PASSWORDS["admin"],
    "default_user_tags.administrator": "true",
}

_QUICK = {
    "log.file": "false",
    "log.console": "true",
    "log.console.level": "info",
    # A silent node is noticed within seconds
    "net_ticktime": "8",
    # Other programs use the machine's memory and disk, too
    "disk_free_limit.absolute": "1MB",
    "raft.wal_max_size_bytes": "67108864",
}
