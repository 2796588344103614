"""The environment of a RabbitMQ node that does not interfere with others on the machine."""

from __future__ import annotations

import os
from pathlib import Path

SCRIPTS = "/usr/lib/rabbitmq/bin"
"""Debian's folder with the real scripts. Those in PATH are wrappers for root."""
OF_ANOTHER_NODE = ("RABBITMQ_", "ERL_", "ELIXIR_")
"""Prefixes of variables that must not be passed on to the node."""


def node_environment(
    folder: Path, *, home: Path, name: str, port: int, epmd_port: int, more_arguments: str = ""
) -> dict[str, str]:
    """Return the environment of `rabbitmq-server`.

    `folder` is for the node's files, `home` for the cookie. `port` is the distribution port.
    Because the arguments have the node's name, the node does not start a second Erlang VM to check
    epmd.
    """
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(OF_ANOTHER_NODE)
    }
    return {
        **inherited,
        "HOME": str(home),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_CRASH_DUMP": "/dev/null",
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_USE_LONGNAME": "true",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_DIST_PORT": str(port),
        "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server instead of waiting for it
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            f"-name {name} -start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}} "
            f"-kernel inet_dist_listen_min {port} -kernel inet_dist_listen_max "
            f"{port}{more_arguments}"
        ),
    }
