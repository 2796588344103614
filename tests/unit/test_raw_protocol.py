"""Kafka's protocol: encoding, SCRAM, and which of librdkafka's properties are supported."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import struct
import threading

import pytest

from exporter.collectors.kafka.login.mechanisms import CALLBACK
from exporter.collectors.kafka.login.tokens import Token, Tokens
from exporter.collectors.kafka.raw.codec import Decoder, Garbled, compact_string, varint
from exporter.collectors.kafka.raw.connection import (
    API_VERSIONS,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    BrokerConnection,
)
from exporter.collectors.kafka.raw.scram import Scram, ScramError
from exporter.collectors.kafka.raw.security import LibrdkafkaOnlyError, security_of
from exporter.model import CollectError, Until
from testbed.ports import PortBlock

SALT = b"salt"


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31 - 1])
def test_numbers_with_seven_bits_per_byte(value: int) -> None:
    assert Decoder(varint(value)).varint() == value


@pytest.mark.parametrize("text", ["", "a", "🙂" * 100])
def test_compact_strings(text: str) -> None:
    assert Decoder(compact_string(text)).string() == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05ab",  # shorter than it says
        b"\xff\xff\xff\xff\xff\xff",  # a length without end
        b"\0",  # null
        b"\x03\xff\xfe",  # no UTF-8
    ],
)
def test_invalid_data_is_garbled(data: bytes) -> None:
    with pytest.raises(Garbled):
        Decoder(data).string()


def test_an_array_cannot_have_more_items_than_bytes() -> None:
    answer = Decoder(varint(1_000_000) + b"\0" * 10)
    with pytest.raises(Garbled):
        answer.array(answer.int8)


def server_side(mechanism: str, password: str, iterations: int = 4_096) -> tuple[Scram, str, str]:
    """A client that has sent its first message, the server's answer, and the signed text."""
    client = Scram(mechanism, "us=er,", password)
    first = client.first().decode().removeprefix("n,,")
    nonce = first.rpartition("r=")[2] + "server"
    answer = f"r={nonce},s={base64.b64encode(SALT).decode()},i={iterations}"
    return client, answer, f"{first},{answer},c=biws,r={nonce}"


@pytest.mark.parametrize(
    ("mechanism", "name"), [("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512")]
)
def test_scram_proves_the_password_and_has_the_server_prove_it(mechanism: str, name: str) -> None:
    client, answer, signed = server_side(mechanism, "pässword")
    assert signed.startswith("n=us=3Der=2C,r=")
    proof = client.final(answer.encode()).decode().rpartition(",p=")[2]
    salted = hashlib.pbkdf2_hmac(name, "pässword".encode(), SALT, 4_096)
    key = hmac.new(salted, b"Client Key", name).digest()
    signature = hmac.new(hashlib.new(name, key).digest(), signed.encode(), name).digest()
    assert base64.b64decode(proof) == bytes(a ^ b for a, b in zip(key, signature, strict=True))
    of_server = hmac.new(salted, b"Server Key", name).digest()
    verifier = base64.b64encode(hmac.new(of_server, signed.encode(), name).digest())
    client.verify(b"v=" + verifier)
    for wrong in (b"v=AAAA", b"e=other-error", b""):
        with pytest.raises(ScramError):
            client.verify(wrong)


def test_scram_refuses_a_server_that_answers_another_client_or_demands_too_much_work() -> None:
    client, answer, _ = server_side("SCRAM-SHA-256", "p")
    with pytest.raises(ScramError, match="another client"):
        client.final(answer.replace("r=", "r=x").encode())
    with pytest.raises(ScramError, match="can't be read"):
        client.final(b"e=invalid")
    for iterations in (1, 1_000_001, 100_000_000):
        client, answer, _ = server_side("SCRAM-SHA-256", "p", iterations)
        with pytest.raises(ScramError, match="iterations"):
            client.final(answer.encode())


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}, "OAUTHBEARER"),
        ({"security.protocol": "sasl_plaintext"}, "GSSAPI"),
        ({"security.protocol": "ssl", "ssl.keystore.location": "/k.p12"}, "ssl.keystore.location"),
        ({"security.protocol": "ssl", "ssl.key.pem": "hunter2"}, "ssl.key.pem"),
    ],
)
def test_properties_for_librdkafka_only_are_named_without_values(
    properties: dict[str, str], named: str
) -> None:
    with pytest.raises(LibrdkafkaOnlyError, match=named) as raised:
        security_of(properties)
    assert "hunter2" not in str(raised.value)


def test_tls_properties_are_ignored_without_tls() -> None:
    found = security_of({"ssl.key.pem": "x", "sasl.mechanism": "OAUTHBEARER"})
    assert (found.tls, found.mechanism) == (None, None)


def test_no_text_of_the_security_settings_contains_a_password() -> None:
    found = security_of(
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": "u",
            "sasl.password": "hunter2",
            "ssl.key.password": "hunter2",
        }
    )
    assert found.mechanism == "PLAIN"
    assert "hunter2" not in repr(found)


class Broker:
    """Accepts one connection with an OAUTHBEARER login, and answers with `answer`."""

    def __init__(self, answer: bytes, refuses: bool) -> None:
        self.words: list[bytes] = []
        self._answer, self._refuses = answer, refuses
        self._ports = PortBlock()
        port = self._ports.take()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(30)
        self._socket.close()
        self._ports.release()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rb") as stream:
            while size := stream.read(4):
                message = stream.read(int.from_bytes(size))
                api, _, number, length = struct.unpack(">hhih", message[:10])
                reply = struct.pack(">i", number) + self._body(api, message[10 + length :])
                connection.sendall(struct.pack(">i", len(reply)) + reply)

    def _body(self, api: int, rest: bytes) -> bytes:
        if api == SASL_HANDSHAKE:
            assert rest[2:] == b"OAUTHBEARER"
            return struct.pack(">hi", 0, 0)
        if api == API_VERSIONS:
            return struct.pack(">hihhh", 0, 1, 16, 0, 5)
        assert api == SASL_AUTHENTICATE
        self.words.append(rest[4:])
        said = self._answer if len(self.words) == 1 else b""
        refused = 58 if self._refuses and (len(self.words) == 2 or not self._answer) else 0
        return struct.pack(">hhi", refused, -1, len(said)) + said


def log_in(broker: Broker, tokens: Tokens) -> BrokerConnection:
    properties = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER"}
    security = security_of({**properties, CALLBACK: tokens})
    return BrokerConnection(broker.address, security, Until(30))


def test_a_token_is_sent_as_in_rfc_7628() -> None:
    tokens = Tokens("s", lambda: Token("hunter2", 60, "lag", {"logicalCluster": "lkc-1"}))
    broker = Broker(b"", refuses=False)
    with log_in(broker, tokens) as connection:
        assert connection.knows(16, 5)
    broker.close()
    assert broker.words == [b"n,,\1auth=Bearer hunter2\1logicalCluster=lkc-1\1\1"]


@pytest.mark.parametrize("answer", [b"", b'{"status":"invalid_token"}'])
def test_a_refused_token_is_replaced_and_in_no_text(answer: bytes) -> None:
    made: list[str] = []

    def fetch() -> Token:
        made.append(f"hunter{len(made)}")
        return Token(made[-1], 60)

    tokens = Tokens("s", fetch)
    broker = Broker(answer, refuses=True)
    with pytest.raises(CollectError, match="rejects the token") as raised:
        log_in(broker, tokens)
    broker.close()
    assert raised.value.reason == "unauthorized"
    assert "hunter" not in str(raised.value)
    assert broker.words[1:] == ([b"\1"] if answer else []), "the client ends the exchange"
    assert tokens("")[0] == "hunter1"
