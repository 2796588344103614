"""The properties given to librdkafka.

They are the configured properties, and a token callback if librdkafka cannot get the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from exporter.collectors.kafka.login.tokens import Token, Tokens
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError
from exporter.secret_files import SecretFileError

CALLBACK = "oauth_cb"
MSK_IAM = "AWS_MSK_IAM"
Fetch = Callable[[Mapping[str, str]], Token]


class KafkaLogin:
    """The login of one source; all its clients share the token, if one is needed."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        found = fetcher(_names(settings))
        self._tokens = None if found is None else Tokens(settings.name, self._renewed_by(found))

    def properties(self) -> dict[str, Any]:
        """Return the properties for a new client, with current secrets and a valid token.

        Raises `SecretFileError`, and `CollectError` if no token is available.
        """
        given = self._settings.client_properties()
        if self._tokens is None:
            return dict(given)
        self._tokens.get()
        return with_tokens(given, self._tokens)

    def _renewed_by(self, fetch: Fetch) -> Callable[[], Token]:
        def renewed() -> Token:
            try:
                given = self._settings.client_properties()
            except SecretFileError as error:
                raise CollectError("invalid", str(error)) from None
            return fetch(given)

        return renewed


def fetcher(properties: Mapping[str, str]) -> Fetch | None:
    """Return the function that fetches tokens; None if librdkafka needs no help."""
    mechanism = mechanism_of(properties)
    if mechanism == MSK_IAM:
        from exporter.collectors.kafka.login import msk_iam  # noqa: PLC0415 - few need it

        return msk_iam.fetch
    if mechanism == "OAUTHBEARER":
        from exporter.collectors.kafka.login import oidc  # noqa: PLC0415 - few need it

        return oidc.fetch if oidc.is_ours(properties) else None
    return None


def shape(settings: KafkaSettings) -> Mapping[str, object]:
    """Return the properties as given to clients, without values from files and without a token."""
    names = _names(settings)
    return names if fetcher(names) is None else with_tokens(names, shape)


def with_tokens(properties: Mapping[str, str], tokens: Callable[..., object]) -> dict[str, Any]:
    """Return librdkafka's properties for a source with tokens from a callback."""
    kept = {name: value for name, value in properties.items() if not _is_of_tokens(name)}
    if mechanism_of(properties) == MSK_IAM:
        # Without TLS librdkafka would connect without a login. All listeners of Amazon have TLS.
        kept = {"security.protocol": "SASL_SSL", **kept}
    return {**kept, "sasl.mechanism": "OAUTHBEARER", CALLBACK: tokens}


def mechanism_of(properties: Mapping[str, object]) -> str:
    """Return the SASL mechanism in upper case, as librdkafka expects it; empty if none is given."""
    return str(properties.get("sasl.mechanism") or properties.get("sasl.mechanisms") or "").upper()


def _names(settings: KafkaSettings) -> dict[str, str]:
    return {**dict.fromkeys(settings.property_files, "-"), **settings.properties}


def _is_of_tokens(name: str) -> bool:
    return name.startswith(("sasl.oauthbearer.", "https.ca.")) or name == "sasl.mechanisms"
