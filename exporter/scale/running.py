"""The command `scale`: its options, its start and its end."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic_core import PydanticCustomError

from exporter import __version__, logging_setup
from exporter.config import LogConfig
from exporter.config import load as load_config
from exporter.config.types import seconds
from exporter.scale.client import AddressError, Client, ExporterAddress, address_of
from exporter.scale.controller import Controller, ControllerSettings
from exporter.scale.metrics import routes
from exporter.scale.selection import FollowedSubscription, Selection, SelectionError
from exporter.scale.template import TemplateError, template_of
from exporter.scrub import learn_property, scrub
from exporter.web.server import Server

DEFAULT_URL = "http://127.0.0.1:9877"
DONE, FAILED, MISUSED = 0, 1, 2
"""Exit codes: also 1 if `--once` could not decide, or its command failed."""
STOP_SECONDS = 0.3
"""For responses of the HTTP server that are being sent at the end."""
EVERYWHERE = frozenset({"", "0.0.0.0", "[::]"})  # noqa: S104 - compared, not listened on

LEAST_SECRET = 6
"""Characters of a secret in the environment. Shorter values are switches such as `true`."""
LEAST_SECONDS = 1.0
"""Least time between two polls, and for the command."""

Deliver = Callable[[Callable[[], object]], object]


class OptionError(ValueError):
    """An option is invalid. The text names it."""


def scale(options: argparse.Namespace, deliver: Deliver) -> int:
    """Run the controller; return the exit code.

    `deliver` is called with the function that ends it.
    """
    stop = threading.Event()
    deliver(stop.set)
    _learn_secrets(os.environ)
    try:
        address, log = _address(options)
        settings = _settings(options)
    except (AddressError, TemplateError, OptionError) as error:
        return _misused(error)
    logging_setup.configure(_format(options, log), log.level)
    names = Selection(options.source, options.vhost, options.destination, options.group)
    controller = Controller(
        FollowedSubscription(Client(address, stop), names, patient=not options.once), settings, stop
    )
    try:
        if options.once:
            return DONE if controller.step() else FAILED
        return _follow(controller, options, address)
    except SelectionError as error:
        logging_setup.flush()
        return _misused(error)


def _follow(controller: Controller, options: argparse.Namespace, address: ExporterAddress) -> int:
    """Follow the advice until the controller is stopped."""
    log: Any = structlog.get_logger(__name__)
    server = None
    if options.listen is not None:
        server = Server(options.listen, routes(controller.metrics, controller.pulse))
        server.start()
    log.info(
        "scale.started",
        version=__version__,
        url=address.url,
        command=options.template,
        every=options.every,
        dry_run=options.dry_run,
    )
    try:
        controller.follow()
    finally:
        if server is not None:
            server.stop(STOP_SECONDS)
    log.info("scale.stopped")
    return DONE


def _settings(options: argparse.Namespace) -> ControllerSettings:
    """Return what the user wants. Raises `OptionError` and `TemplateError`."""
    if options.once and options.listen is not None:
        raise OptionError("--listen has no use with --once")
    return ControllerSettings(
        template=template_of(options.template),
        every=duration("--every", options.every),
        timeout=duration("--timeout", options.timeout),
        dry_run=options.dry_run,
        enforce=options.enforce,
        initial=options.initial,
        environ=dict(os.environ),
    )


def duration(option: str, text: str) -> float:
    """Return the seconds of a duration such as `15s` or `1m30s`. Raises `OptionError`."""
    try:
        found = float(seconds(text))
    except PydanticCustomError as error:
        raise OptionError(f"{option}: {error.message()}") from None
    if found < LEAST_SECONDS:
        raise OptionError(f"{option}: at least {LEAST_SECONDS:g}s")
    return found


def _address(options: argparse.Namespace) -> tuple[ExporterAddress, LogConfig]:
    """Return the exporter's address and the settings of the log.

    Raises `ConfigError` and `AddressError`.
    """
    path: Path | None = options.config
    if path is None:
        url, log = options.url or DEFAULT_URL, LogConfig()
    else:
        config = load_config(path)
        url, log = local_url(config.listen), config.log
    return address_of(url, options.user, options.password_file, options.ca_file), log


def local_url(listen: str) -> str:
    """Return the URL at which this machine reaches a daemon with this `listen`."""
    host, _, port = listen.rpartition(":")
    return f"http://{'127.0.0.1' if host in EVERYWHERE else host}:{port}"


def _format(options: argparse.Namespace, log: LogConfig) -> Literal["json", "console"]:
    chosen: Literal["json", "console"] | None = options.log_format
    return chosen or log.format


def _learn_secrets(environ: Mapping[str, str]) -> None:
    """Mask the secrets in the environment, which the command's output may show."""
    for name, value in environ.items():
        if len(value) >= LEAST_SECRET:
            learn_property(name, value)


def _misused(error: Exception) -> int:
    print(scrub(str(error)), file=sys.stderr)  # noqa: T201 - it speaks to a person
    return MISUSED
