"""Makes clients of librdkafka while their files may be in the middle of a replacement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaException

from exporter.collectors.kafka.errors import kafka_error
from exporter.secret_files import patiently

T = TypeVar("T")


class _FilesError(Exception):
    """A client can't be made with the certificates and keys of now."""

    def __init__(self, cause: KafkaException) -> None:
        super().__init__()
        self.cause = cause


def made(make: Callable[[dict[str, Any]], T], properties: Callable[[], dict[str, Any]]) -> T:
    """Return what `make` makes of the properties. Raises `KafkaException`, and what `properties` raises.

    A key that does not go with its certificate is read again for a moment: one of them may have been replaced before
    the other.
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
    """Tell whether librdkafka complains of a certificate or a key."""
    return "ssl." in text or "rivate key" in text
