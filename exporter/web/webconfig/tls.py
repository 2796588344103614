"""The TLS context for the settings of the file."""

import os
import ssl
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.config.files import MAX_BYTES
from exporter.web.webconfig.ciphers import CURVES, TLS12_SUITES
from exporter.web.webconfig.errors import WebConfigError
from exporter.web.webconfig.models import TlsServerConfig


def tls_context(tls: TlsServerConfig, folder: Path) -> ssl.SSLContext:
    """Return the context for `tls`; relative paths in it start at `folder`.

    Raises `WebConfigError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _set_versions_and_ciphers(context, tls)
    if tls.curve_preferences:
        context.set_ecdh_curve(CURVES[tls.curve_preferences[0]])
    _load_own_certificate(context, tls, folder)
    _set_client_authentication(context, tls, folder)
    return context


def _set_versions_and_ciphers(context: ssl.SSLContext, tls: TlsServerConfig) -> None:
    suites = [TLS12_SUITES[name] for name in tls.cipher_suites if name in TLS12_SUITES]
    only_tls13 = tls.min_version == "TLS13" or (tls.cipher_suites and not suites)
    if only_tls13 and tls.max_version == "TLS12":
        message = (
            "tls_server_config.max_version: TLS12 conflicts with min_version or cipher_suites, "
        )
        raise WebConfigError(message + "no TLS version remains")
    tls12, tls13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    context.minimum_version = tls13 if only_tls13 else tls12
    context.maximum_version = tls13 if tls.max_version == "TLS13" else tls12
    if suites:
        context.set_ciphers(":".join(suites))
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _load_own_certificate(context: ssl.SSLContext, tls: TlsServerConfig, folder: Path) -> None:
    with (
        _pem(folder, "cert", tls.cert_file, tls.cert) as certificate,
        _pem(folder, "key", tls.key_file, tls.key) as key,
    ):
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except ssl.SSLError as error:
            expected = "a PEM certificate and its own private key without a passphrase"
            message = f"tls_server_config.cert_file, key_file: expected {expected}"
            raise WebConfigError(f"{message} ({error.reason or 'not PEM'})") from error


@contextmanager
def _pem(folder: Path, key: str, name: str, inline: str) -> Iterator[str]:
    """Yield the path of the named file, or of a file with the inline text.

    OpenSSL reads only files.
    """
    if name:
        _readable(folder / name, f"{key}_file")
        yield str(folder / name)
        return
    if not inline:
        raise WebConfigError(f"tls_server_config.{key}_file: required with TLS, but missing")
    if sys.platform != "linux":
        raise WebConfigError(f"tls_server_config.{key}: needs Linux; use {key}_file")
    memory = os.memfd_create(key)
    try:
        os.write(memory, inline.encode())
        yield f"/proc/self/fd/{memory}"
    finally:
        os.close(memory)


def _readable(path: Path, key: str) -> None:
    """Reject a file that OpenSSL could not read, or would read without end."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except OSError as error:
        message = f"tls_server_config.{key}: {path}: can't be read: {error.strerror}"
        raise WebConfigError(message) from error
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        expected = f"expected a file of at most {MAX_BYTES:,} bytes"
        raise WebConfigError(f"tls_server_config.{key}: {path}: {expected}")


def _set_client_authentication(context: ssl.SSLContext, tls: TlsServerConfig, folder: Path) -> None:
    verified = tls.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    required = tls.client_auth_type == "RequireAndVerifyClientCert"
    if tls.client_allowed_sans is not None and not required:
        message = "tls_server_config.client_allowed_sans: requires client_auth_type: "
        raise WebConfigError(message + "RequireAndVerifyClientCert")
    if (tls.client_ca_file or tls.client_ca) and tls.client_auth_type in ("", "NoClientCert"):
        message = "tls_server_config.client_auth_type: required with client_ca_file, but missing"
        raise WebConfigError(message)
    if not verified:
        return
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    try:
        if tls.client_ca_file:
            _readable(folder / tls.client_ca_file, "client_ca_file")
            context.load_verify_locations(cafile=folder / tls.client_ca_file)
        elif tls.client_ca:
            context.load_verify_locations(cadata=tls.client_ca)
        else:  # as in Go: what the machine trusts
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    except ssl.SSLError as error:
        message = "tls_server_config.client_ca_file: expected PEM certificates"
        raise WebConfigError(message) from error
