"""Makes librdkafka clients, even while their certificate files are being replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaException

from exporter.collectors.kafka.errors import harmless, kafka_error
from exporter.secret_files import patiently

T = TypeVar("T")

NO_KERBEROS = "No provider for SASL mechanism GSSAPI:"
KERBEROS_ADVICE = (
    "sasl.mechanism GSSAPI (the default of librdkafka) needs a librdkafka with Kerberos support, "
    "which the confluent-kafka wheel does not include: install librdkafka, its headers and SASL's "
    "GSSAPI module, then pip install --no-binary confluent-kafka confluent-kafka; see `Kerberos` "
    "in docs/kafka.md. To use another login, set sasl.mechanism under `client`"
)


class _FilesError(Exception):
    """The current certificates and keys do not fit together."""

    def __init__(self, cause: KafkaException) -> None:
        super().__init__()
        self.cause = cause


def make_client(make: Callable[[dict[str, Any]], T], properties: Callable[[], dict[str, Any]]) -> T:
    """Return `make` applied to the properties.

    Raises `KafkaException`, and all that `properties` raises. If a key does not match its
    certificate, both are read again for a moment: maybe only one of them was replaced yet.
    """

    def once() -> T:
        try:
            return make(properties())
        except KafkaException as error:
            inner = kafka_error(error)
            if inner is not None and _is_of_files(inner.str()):
                raise _FilesError(error) from None
            raise

    try:
        return patiently(once, _FilesError)
    except _FilesError as error:
        raise error.cause from None


def _is_of_files(text: str) -> bool:
    """Return whether librdkafka reports a certificate or key."""
    return "ssl." in text or "rivate key" in text


def configuration_fault(error: KafkaException) -> str:
    """Describe the property that librdkafka rejects, without its value, which may be a secret."""
    inner = kafka_error(error)
    if inner is not None and NO_KERBEROS in inner.str():
        return KERBEROS_ADVICE
    text = harmless(inner.str()) if inner is not None else ""
    return f"librdkafka rejects the properties under `client`: {text}"
