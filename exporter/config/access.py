"""Access to the HTTP and AMQP interfaces of a source: certificates, user and password."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, SecretStr, ValidationInfo, field_validator, model_validator

from exporter.config.properties import SecretPath
from exporter.config.shared import Model
from exporter.config.types import Name, fault


def _password(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        raise fault("must not be empty")
    if any(char in text for char in "\0\r\n"):
        raise fault("must be a single line")
    return value


Password = Annotated[SecretStr, AfterValidator(_password)]


def beside_the_config(path: Path | None, info: ValidationInfo) -> Path | None:
    """Return the path, a relative one from the config's folder."""
    folder: Path = (info.context or {}).get("folder", Path())
    return None if path is None else folder / path


class TlsConfig(Model):
    """TLS files. They are read again at each new connection."""

    ca_file: SecretPath | None = None
    """Certificate authorities to trust instead of the system's."""
    cert_file: SecretPath | None = None
    """Client certificate of the exporter, if the server requires one."""
    key_file: SecretPath | None = None
    """Key of the client certificate, if it is not in the same file."""
    server_name: Name | None = None
    """Name in the server's certificate, if it differs from the host in the address."""

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _beside_the_config(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        return beside_the_config(given, info)

    @field_validator("key_file")
    @classmethod
    def _with_a_certificate(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        if given is not None and info.data.get("cert_file") is None:
            raise fault("key_file needs cert_file")
        return given


class LoginConfig(Model):
    """User and password."""

    username: Name | None = None
    """User name for the HTTP interface."""
    password: Password | None = None
    """Password of the user. Prefer password_file or an environment variable (${NAME})."""
    password_file: SecretPath | None = None
    """File with the password. It is read again at each new connection."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        given = self.password is not None or self.password_file is not None
        if given and self.username is None:
            raise fault("a password needs a username")
        if self.username is not None and not given:
            raise fault("a username needs password or password_file")
        return self

    @field_validator("password_file")
    @classmethod
    def _one_password(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        if given is not None and info.data.get("password") is not None:
            raise fault("both password and password_file are set; keep one of them")
        return beside_the_config(given, info)
