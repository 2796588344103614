"""The TLS files of the gRPC server: read, checked, and read again for each new connection."""

from __future__ import annotations

import ssl
import stat
import threading
from pathlib import Path
from typing import NamedTuple

import grpc
import structlog

from exporter.config.files import TooLargeError, read_bounded
from exporter.config.keda import KedaTls
from exporter.secret_files import patiently
from exporter.web.server import ServerError

log = structlog.get_logger(__name__)


class _Files(NamedTuple):
    """The contents of the files at one moment."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """The current certificates. The last valid ones stay in use while the files are invalid."""

    def __init__(self, tls: KedaTls) -> None:
        """Read the files. Raises `ServerError`, which names the file and the key."""
        self._tls = tls
        self._lock = threading.Lock()
        self._used = patiently(lambda: _read(tls), ServerError)
        self._problem: str | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that ask for changed files at each new connection."""
        required = self._tls.client_ca_file is not None
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._used), self.changed, require_client_authentication=required
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new certificates; None if the files are unchanged or invalid.

        gRPC calls it from its own threads.
        """
        with self._lock:
            try:
                found = _read(self._tls)
            except ServerError as error:
                if self._problem != str(error):
                    self._problem = str(error)
                    log.warning("keda.certificates_unusable", error=self._problem)
                return None
            self._problem = None
            if found == self._used:
                return None
            self._used = found
            log.info("keda.certificates_replaced")
            return _configuration(found)


def _configuration(files: _Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.cert)], files.client_ca)


def _read(tls: KedaTls) -> _Files:
    """Return the contents of the files if OpenSSL accepts them. Raises `ServerError`."""
    before = _contents(tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        expected = "expected a PEM certificate and its own private key without a passphrase"
        raise ServerError(
            f"{tls.cert_file}, {tls.key_file}: keda.tls.cert_file, key_file: {expected} "
            f"({_reason(error)})"
        ) from error
    if tls.client_ca_file is not None:
        try:
            context.load_verify_locations(tls.client_ca_file)
        except (ssl.SSLError, OSError) as error:
            raise ServerError(
                f"{tls.client_ca_file}: keda.tls.client_ca_file: expected PEM certificates "
                f"({_reason(error)})"
            ) from error
    # OpenSSL reads the files itself, so they have to be the same before and after.
    if _contents(tls) != before:
        raise ServerError(f"{tls.cert_file}: keda.tls: the files change all the time")
    return before


def _contents(tls: KedaTls) -> _Files:
    ca = tls.client_ca_file
    return _Files(
        _content("cert_file", tls.cert_file),
        _content("key_file", tls.key_file),
        None if ca is None else _content("client_ca_file", ca),
    )


def _content(key: str, path: Path) -> bytes:
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return read_bounded(path)
        problem = "expected a file"
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    except TooLargeError as error:
        problem = str(error)
    raise ServerError(f"{path}: keda.tls.{key}: {problem}")


def _reason(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "not PEM"
