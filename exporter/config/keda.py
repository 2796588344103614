"""Config keys of the external scaler for KEDA."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationInfo, field_validator

from exporter.config.access import beside_the_config
from exporter.config.properties import SecretPath
from exporter.config.shared import Model
from exporter.config.types import Listen


class KedaTls(Model):
    """TLS files of the gRPC server. They are read again at each new connection."""

    cert_file: SecretPath
    """Certificate of the server in PEM format, followed by intermediate certificates."""
    key_file: SecretPath
    """Key of the certificate, without a passphrase."""
    client_ca_file: SecretPath | None = None
    """Certificate authorities of clients. If it is set, each client must present a certificate
    from one of them.
    """

    @field_validator("cert_file", "key_file", "client_ca_file")
    @classmethod
    def _beside_the_config(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        return beside_the_config(given, info)


class KedaConfig(Model):
    """The external scaler for KEDA, a gRPC server."""

    listen: Listen = "0.0.0.0:9878"
    """Address of the gRPC server, such as 0.0.0.0:9878 or :9878."""
    tls: KedaTls | None = None
    """TLS files. Without them, anybody in the network can read and falsify the answers."""
