"""Makes the settings of an NSQ collector from its config."""

from __future__ import annotations

from exporter.collectors.access_config import login_of, tls_of
from exporter.collectors.nsq.settings import NsqSettings
from exporter.config.nsq import NsqSource
from exporter.name_filter import NOTHING


def nsq_settings(config: NsqSource) -> NsqSettings:
    """Return the settings of the source's collector."""
    probe = config.probe
    return NsqSettings(
        name=config.name,
        lookupds=config.nsqlookupd,
        nsqds=config.nsqd,
        tls=tls_of(config.tls),
        login=login_of(config),
        trusted=NOTHING if config.nodes is None else config.nodes.matcher,
        destinations=config.destinations.matcher,
        groups=config.groups.matcher,
        internals=config.internals,
        probe=probe.enabled,
        probe_topic=probe.destination,
        probe_deadline=probe.deadline,
        probe_tls=probe.tls,
        auth_secret=None if probe.auth_secret is None else probe.auth_secret.get_secret_value(),
        auth_secret_file=probe.auth_secret_file,
    )
