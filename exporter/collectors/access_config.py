"""Makes TLS settings and logins for the collectors from the config."""

from __future__ import annotations

from exporter.collectors.access import Login, Tls
from exporter.config.access import LoginConfig, TlsConfig


def tls_of(config: TlsConfig) -> Tls:
    """Return the TLS settings."""
    return Tls(config.ca_file, config.cert_file, config.key_file, config.server_name)


def login_of(config: LoginConfig) -> Login:
    """Return the login."""
    password = None if config.password is None else config.password.get_secret_value()
    return Login(config.username, password, config.password_file)
