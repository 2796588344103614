"""Certificates for the tests' servers and clients, signed by the tests' own authority."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

CLIENT = "client"
"""The common name in `Certificates.client_cert`."""


@dataclass(frozen=True)
class Certificates:
    """PEM files with the certificates of servers and clients, and the authority that both trust."""

    ca: Path
    server: Path  # the key and the chain, in one file
    client_cert: Path
    client_key: Path
    authority: trustme.CA = field(repr=False)
    """The authority, which can sign more certificates."""


def make_certificates(folder: Path) -> Certificates:
    """New certificates, signed by a new authority."""
    authority = trustme.CA()
    files = Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        client_cert=folder / "client.pem",
        client_key=folder / "client.key",
        authority=authority,
    )
    authority.cert_pem.write_to_path(files.ca)
    server = authority.issue_cert("localhost", "127.0.0.1")
    files.server.write_bytes(
        _pkcs8(server.private_key_pem) + b"".join(blob.bytes() for blob in server.cert_chain_pems)
    )
    certificate, key = client_pair(authority, CLIENT)
    files.client_cert.write_bytes(certificate)
    files.client_key.write_bytes(key)
    return files


def client_pair(
    authority: trustme.CA, name: str, ends: datetime | None = None
) -> tuple[bytes, bytes]:
    """A client's certificate, valid until `ends`, and its key."""
    made = authority.issue_cert(f"{name}@tests", common_name=name, not_after=ends)
    return b"".join(blob.bytes() for blob in made.cert_chain_pems), _pkcs8(made.private_key_pem)


def _pkcs8(key: trustme.Blob) -> bytes:
    """The same key in a format that every server reads."""
    return load_pem_private_key(key.bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
