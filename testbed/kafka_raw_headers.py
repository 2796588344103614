"""Produces records with header names of any bytes, which the Python client refuses to send."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

_END, _TOPIC, _PARTITION, _VALUE, _HEADER = 0, 1, 3, 4, 9
_PRODUCER = 0
_FLUSH_MS = 30_000


def produce_with_header(bootstrap: str, topic: str, name: bytes, value: bytes) -> None:
    """Produce one record to partition 0 with the C library that is part of the Python client."""
    library = _library()
    text = ctypes.create_string_buffer(512)
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_new.restype = ctypes.c_void_p
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), text, len(text))
    client = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, conf, text, len(text)))
    assert client.value, text.value
    size = ctypes.c_size_t
    code = library.rd_kafka_producev(
        client,
        *(ctypes.c_int(_TOPIC), ctypes.c_char_p(topic.encode())),
        *(ctypes.c_int(_PARTITION), ctypes.c_int32(0)),
        *(ctypes.c_int(_VALUE), ctypes.c_char_p(b"v"), size(1)),
        *(ctypes.c_int(_HEADER), ctypes.c_char_p(name), ctypes.c_char_p(value), size(len(value))),
        ctypes.c_int(_END),
    )
    unsent = library.rd_kafka_flush(client, _FLUSH_MS)
    library.rd_kafka_destroy(client)
    assert (code, unsent) == (0, 0)


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka-*.so*")
    return ctypes.CDLL(str(path))
