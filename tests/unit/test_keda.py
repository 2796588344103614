"""The external scaler: a client made from KEDA's interface sees the advice, or a precise error."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog.testing
import trustme
import yaml
from google.protobuf.descriptor_pb2 import DescriptorProto
from pydantic import ValidationError

from exporter.config.keda import KedaConfig, KedaTls
from exporter.keda import answers, messages
from exporter.keda.service import KedaService
from exporter.scaling.board import AdviceBoard, Published, SubscriptionName
from exporter.show.own_metrics import OwnMetrics
from exporter.web.server import ServerError
from testbed.waiting import wait_until
from tests.support.keda import Client, Made, compile_proto

ORDERS = SubscriptionName("kafka", None, "orders", "billing")
BILLING = {"source": "kafka", "destination": "orders", "group": "billing"}
LONG = 1_000.0
"""Seconds for which advice is valid in tests that do not wait for its end."""
ODD = [
    "quotes \"double\" and 'single'",
    "line\nbreak\r\n\ttab",
    "/slashes/../%2F?a=b#c&d",
    "emoji 🦄🏳️‍🌈 and ü",
    "\x00\x01\x7f",
    "\u202eright to left",
    " blanks ",
    "{{ template }} ${VARIABLE}",
    "x" * 32_767,
]


def advice(consumers: int, *, active: bool | None = None, seconds: float = LONG) -> Published:
    works = consumers > 0 if active is None else active
    return Published(consumers, works, "a test", time.monotonic() + seconds)


class Board(AdviceBoard):
    """A board with one subscription."""

    def set(self, consumers: int, *, active: bool | None = None, seconds: float = LONG) -> None:
        self.publish("kafka", {ORDERS: advice(consumers, active=active, seconds=seconds)})


class Counts:
    """Counts answers as the exporter's own metrics do."""

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()

    def __call__(self, method: str, code: str, by: int) -> None:
        self.found[method, code] += by


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return compile_proto(tmp_path_factory.mktemp("proto"))


@pytest.fixture
def board() -> Board:
    board = Board()
    board.set(3)
    return board


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def service(board: Board, counts: Counts) -> Iterator[KedaService]:
    service = KedaService(board, "127.0.0.1:0", counted=counts)
    service.start()
    yield service
    assert service.stop(10.0)


@pytest.fixture
def client(made: Made, service: KedaService) -> Iterator[Client]:
    with Client(made, service.port) as client:
        yield client


def refused(call: Callable[..., Any], **metadata: str) -> tuple[str, str]:
    """Return the code and the text of the error."""
    with pytest.raises(grpc.RpcError) as caught:
        call(**metadata)
    return caught.value.code().name, caught.value.details()


# The interface


def test_the_messages_are_those_of_the_interface(made: Made) -> None:
    theirs = made.messages.DESCRIPTOR.message_types_by_name
    ours = messages.ScaledObjectRef.DESCRIPTOR.file.message_types_by_name
    assert theirs.keys() == ours.keys()
    for name in theirs:
        assert described(ours[name]) == described(theirs[name])


def described(message: Any) -> DescriptorProto:
    found = DescriptorProto()
    message.CopyToProto(found)
    for field in [*found.field, *(f for nested in found.nested_type for f in nested.field)]:
        field.ClearField("json_name")
    return found


def test_the_wanted_number_is_in_both_fields(client: Client) -> None:
    assert client.specs(**BILLING) == [("desired_consumers", 1, 1.0)]
    assert client.metrics(**BILLING) == [("desired_consumers", 3, 3.0)]
    assert client.is_active(**BILLING)


@pytest.mark.parametrize(
    ("consumers", "active"), [(0, False), (0, True), (1, False), (10**9, True)]
)
def test_number_and_activity_are_those_of_the_board(
    client: Client, board: Board, consumers: int, active: bool
) -> None:
    board.set(consumers, active=active)
    assert client.metrics(**BILLING) == [("desired_consumers", consumers, float(consumers))]
    assert client.is_active(**BILLING) is active


def test_keys_that_keda_adds_are_ignored(client: Client) -> None:
    own = {"scalerAddress": "mq-lag-exporter:9878", "enableTLS": "true", "": "", "Group": "x"}
    assert client.is_active(group="billing", vhost="", **own)


def test_each_key_is_used(client: Client, board: Board) -> None:
    place = SubscriptionName("rabbit", "/shop", "mail", None)
    board.publish("rabbit", {place: advice(7), place._replace(vhost="/"): advice(8)})
    assert client.metrics(vhost="/shop") == [("desired_consumers", 7, 7.0)]
    assert client.metrics(destination="mail", vhost="/") == [("desired_consumers", 8, 8.0)]
    assert refused(client.metrics, source="rabbit")[0] == "NOT_FOUND"


def test_the_optional_stream_of_specs_is_left_out(client: Client) -> None:
    assert refused(client.spec_stream, **BILLING)[0] == "UNIMPLEMENTED"


# What is not known is an error


@pytest.mark.parametrize("call", ["is_active", "metrics", "specs", "stream"])
@pytest.mark.parametrize("metadata", [{}, {"scalerAddress": "a:1"}, {"group": "", "source": ""}])
def test_metadata_without_a_name_is_invalid(
    client: Client, call: str, metadata: dict[str, str]
) -> None:
    code, text = outcome(client, call, metadata)
    assert code == "INVALID_ARGUMENT"
    assert "source, destination, group, vhost" in text


@pytest.mark.parametrize("call", ["is_active", "metrics", "stream"])
def test_an_unknown_subscription_is_not_found_and_similar_names_are_shown(
    client: Client, call: str
) -> None:
    code, text = outcome(client, call, {"group": "biling"})
    assert code == "NOT_FOUND"
    assert "'biling'" in text
    assert "group 'billing'" in text


@pytest.mark.parametrize("call", ["is_active", "metrics", "stream"])
def test_names_of_several_subscriptions_are_not_found(
    client: Client, board: Board, call: str
) -> None:
    board.publish("other", {ORDERS._replace(source="other"): advice(9)})
    code, text = outcome(client, call, {"group": "billing"})
    assert code == "NOT_FOUND"
    assert "2 subscriptions match" in text


@pytest.mark.parametrize("call", ["is_active", "metrics", "stream"])
def test_blind_is_unavailable_until_there_is_new_advice(
    client: Client, board: Board, call: str
) -> None:
    board.set(3, seconds=-1)
    code, text = outcome(client, call, BILLING)
    assert code == "UNAVAILABLE"
    assert "could not be read lately" in text
    board.set(4)
    assert client.metrics(**BILLING) == [("desired_consumers", 4, 4.0)]
    assert client.is_active(**BILLING)
    assert client.stream(**BILLING).next()


def outcome(client: Client, call: str, metadata: dict[str, str]) -> tuple[str, str]:
    if call == "stream":
        return client.stream(**metadata).end()
    return refused(getattr(client, call), **metadata)


def test_the_spec_is_answered_whatever_is_known(client: Client, board: Board) -> None:
    """KEDA counts no failures for `fallback` while this call fails (kedacore/keda#8056)."""
    constant = [("desired_consumers", 1, 1.0)]
    board.set(3, seconds=-1)
    assert client.specs(**BILLING) == constant
    board.withdraw("kafka")
    assert client.specs(**BILLING) == constant
    assert client.specs(group="unknown") == constant


def test_a_replica_may_run_several_consumers(client: Client) -> None:
    assert client.specs(**BILLING, consumersPerReplica="4") == [("desired_consumers", 4, 4.0)]


@pytest.mark.parametrize("given", ["0", "-1", "x", "", "1.5", "9" * 30, "٣"])
def test_an_impossible_number_of_consumers_is_invalid(client: Client, given: str) -> None:
    code, text = refused(client.specs, **BILLING, consumersPerReplica=given)
    assert code == "INVALID_ARGUMENT"
    assert "consumersPerReplica" in text


@pytest.mark.parametrize("method", ["IsActive", "GetMetricSpec", "GetMetrics"])
@pytest.mark.parametrize("request_bytes", [b"\xff", b"\x0a\x05abc", b"\x0a\x02\xff\xfe"])
def test_bytes_that_are_no_message_are_invalid(
    client: Client, counts: Counts, method: str, request_bytes: bytes
) -> None:
    code, text = refused(lambda: client.raw(method, request_bytes))
    assert code == "INVALID_ARGUMENT"
    assert "not a valid externalscaler." in text
    assert client.is_active(**BILLING)
    assert counts.found[method, "INVALID_ARGUMENT"] == 1


def test_a_bug_is_an_error_of_the_call_alone(
    client: Client, board: Board, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: str) -> Published:
        message = "a bug"
        raise RuntimeError(message)

    stream = client.stream(**BILLING)
    assert stream.next()
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(board, "find", fail)
        assert refused(client.metrics, **BILLING)[0] == "INTERNAL"
        board.set(4)
        assert stream.end()[0] == "INTERNAL"
    assert {entry["event"] for entry in logs} == {"keda.request_failed"}
    assert client.is_active(**BILLING)
    assert counts.found["GetMetrics", "INTERNAL"] == 1


# Names and sizes


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names_are_found_and_can_be_in_errors(client: Client, board: Board, name: str) -> None:
    board.publish("kafka", {SubscriptionName("kafka", name, name, name): advice(5)})
    assert client.metrics(destination=name, group=name, vhost=name)[0][1] == 5
    assert client.stream(group=name).next()
    code, text = refused(client.metrics, group=f"{name}?")
    assert code == "NOT_FOUND"
    assert text.startswith("no subscription with group ")
    board.publish("kafka", {SubscriptionName("kafka", name, name, name): advice(5, seconds=-1)})
    assert refused(client.metrics, group=name)[0] == "UNAVAILABLE"


def test_ten_thousand_metadata_entries_are_read(client: Client) -> None:
    many = {f"key {number}": "value" * 10 for number in range(10_000)}
    assert client.is_active(**many, **BILLING)
    assert refused(client.is_active, **many)[0] == "INVALID_ARGUMENT"


def test_a_huge_request_is_refused(client: Client) -> None:
    assert refused(client.is_active, group="x" * 3_000_000)[0] == "NOT_FOUND"
    assert refused(client.is_active, group="x" * 5_000_000)[0] == "RESOURCE_EXHAUSTED"
    assert client.is_active(**BILLING)


# Streams


def test_a_stream_sends_the_present_state_and_each_change(client: Client, board: Board) -> None:
    stream = client.stream(**BILLING)
    assert stream.next()
    board.set(5)
    board.set(0)
    assert not stream.next()
    board.set(0)
    board.publish("other", {})
    board.set(1)
    assert stream.next()


def test_a_change_is_sent_at_once(client: Client, board: Board) -> None:
    stream = client.stream(**BILLING)
    assert stream.next()
    taken = []
    for number in (0, 1, 0, 1, 0):
        before = time.monotonic()
        board.set(number)
        assert stream.next() == (number > 0)
        taken.append(time.monotonic() - before)
    assert min(taken) < 0.4, taken


def test_a_stream_stays_open_while_its_advice_is_outdated(client: Client, board: Board) -> None:
    """After an error, KEDA waits up to a minute before it opens another stream."""
    stream = client.stream(**BILLING)
    assert stream.next()
    board.set(3, seconds=-1)
    assert refused(client.metrics, **BILLING)[0] == "UNAVAILABLE"
    board.set(0)
    assert stream.next() is False


def test_a_stream_ends_when_its_source_is_gone(client: Client, board: Board) -> None:
    stream = client.stream(**BILLING)
    assert stream.next()
    board.withdraw("kafka")
    assert stream.end()[0] == "NOT_FOUND"


def test_calls_do_not_wait_for_streams(client: Client, board: Board, counts: Counts) -> None:
    """KEDA uses one connection for all its calls."""
    places = [ORDERS._replace(group=f"g{number}") for number in range(400)]
    board.publish("kafka", {place: advice(1) for place in places})
    streams = [client.stream(group=str(place.group)) for place in places]
    assert all(stream.next() for stream in streams)
    assert client.metrics(group="g7") == [("desired_consumers", 1, 1.0)]
    board.publish("kafka", {place: advice(0) for place in places})
    assert not any(stream.next() for stream in streams)
    assert not client.is_active(group="g399")
    for stream in streams:
        stream.cancel()
    wait_until(lambda: counts.found["StreamIsActive", "CANCELLED"] == len(places), "the ends")


def test_a_hundred_clients_in_parallel(made: Made, service: KedaService, board: Board) -> None:
    seen: list[bool] = []

    def watch() -> None:
        with Client(made, service.port) as client:
            stream = client.stream(**BILLING)
            assert stream.next()
            ready.release()
            seen.append(stream.next())

    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=watch) for _ in range(100)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert ready.acquire(timeout=60)
    board.set(0)
    for thread in threads:
        thread.join(60)
    assert seen == [False] * 100


def test_the_number_of_streams_is_limited(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_STREAMS", 3)
    streams = [client.stream(**BILLING) for _ in range(3)]
    assert all(stream.next() for stream in streams)
    code, text = client.stream(**BILLING).end()
    assert code == "RESOURCE_EXHAUSTED"
    assert "3 streams are open" in text
    assert client.is_active(**BILLING)
    streams[0].cancel()
    wait_until(lambda: opens(client), "a free stream")


def opens(client: Client) -> bool:
    try:
        return client.stream(**BILLING).next()
    except grpc.RpcError:
        return False


VANISHING = """
import sys
sys.path.insert(0, sys.argv[1])
import grpc, externalscaler_pb2, externalscaler_pb2_grpc
stub = externalscaler_pb2_grpc.ExternalScalerStub(grpc.insecure_channel(sys.argv[2]))
asked = externalscaler_pb2.ScaledObjectRef(scalerMetadata={"group": "billing"})
streams = [stub.StreamIsActive(asked) for _ in range(20)]
for stream in streams:
    next(stream)
print("open", flush=True)
sys.stdin.read()
"""


def test_streams_of_a_client_that_is_killed_are_closed(
    made: Made, service: KedaService, board: Board, counts: Counts
) -> None:
    folder = str(Path(made.messages.__file__).parent)
    command = [sys.executable, "-c", VANISHING, folder, f"127.0.0.1:{service.port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"open\n"
        killed.send_signal(signal.SIGKILL)
    wait_until(lambda: counts.found["StreamIsActive", "CANCELLED"] == 20, "the ends")
    board.set(0)
    with Client(made, service.port) as client:
        assert not client.stream(**BILLING).next()


def test_connections_that_say_nothing_or_nonsense_do_no_harm(
    made: Made, service: KedaService
) -> None:
    address = ("127.0.0.1", service.port)
    silent = [socket.create_connection(address) for _ in range(50)]
    for number, each in enumerate(silent[:25]):
        each.sendall(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else bytes(range(256)))
    with Client(made, service.port) as client:
        assert client.is_active(**BILLING)
    for each in silent:
        each.close()


def test_calls_that_never_send_their_request_do_no_harm(
    made: Made, service: KedaService, client: Client
) -> None:
    over = threading.Event()

    def nothing() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    with Client(made, service.port) as attacker:
        call = attacker.channel.stream_unary("/externalscaler.ExternalScaler/GetMetrics")
        pending = [call.future(nothing()) for _ in range(50)]
        assert client.metrics(**BILLING)[0][1] == 3
        assert not any(each.done() for each in pending)
        over.set()


# Start and stop


def test_stop_ends_open_streams_within_a_second(made: Made, board: Board) -> None:
    service = KedaService(board, "127.0.0.1:0")
    service.start()
    with Client(made, service.port) as client:
        streams = [client.stream(**BILLING) for _ in range(200)]
        assert all(stream.next() for stream in streams)
        before = time.monotonic()
        assert service.stop(5.0)
        assert time.monotonic() - before < 1.0
        # Without an error: after one, KEDA waits longer and longer before it opens a new stream.
        assert {stream.end()[0] for stream in streams} == {"OK"}
        assert refused(client.is_active, **BILLING)[0] == "UNAVAILABLE"
    assert service.stop(1.0)


def test_stop_does_not_wait_for_a_connection_that_says_nothing(board: Board) -> None:
    service = KedaService(board, "127.0.0.1:0")
    service.start()
    with socket.create_connection(("127.0.0.1", service.port)):
        before = time.monotonic()
        assert service.stop(5.0)
        assert time.monotonic() - before < 1.0


def test_start_and_stop_again_and_again(made: Made, board: Board) -> None:
    service = KedaService(board, "127.0.0.1:0")
    for _ in range(5):
        service.start()
        with Client(made, service.port) as client:
            assert client.is_active(**BILLING)
        assert service.stop(5.0)
    alive = [thread.name for thread in threading.enumerate()]
    assert "keda" not in alive


def test_the_pulse_beats_while_it_runs(board: Board) -> None:
    service = KedaService(board, "127.0.0.1:0")
    service.start()
    wait_until(lambda: service.pulse.fault(time.monotonic() + 3600), "the first beat")
    assert service.pulse.fault(time.monotonic()) is None
    service.stop(5.0)
    assert service.pulse.fault(time.monotonic() + 3600) is None


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", ":0", "[::1]:0"])
def test_every_form_of_address(made: Made, board: Board, listen: str) -> None:
    service = KedaService(board, listen)
    service.start()
    name = "[::1]" if listen == "[::1]:0" else "127.0.0.1"
    with Client(made, service.port, name=name) as client:
        assert client.is_active(**BILLING)
    assert service.stop(5.0)


def test_a_port_in_use_is_an_error_with_advice(service: KedaService, board: Board) -> None:
    second = KedaService(board, f"127.0.0.1:{service.port}")
    with pytest.raises(ServerError, match=r"^keda\.listen: 127.*in use by another program"):
        second.start()
    with pytest.raises(ServerError, match="not been started"):
        _ = second.port


def test_a_port_that_is_taken_at_the_last_moment_is_an_error(
    service: KedaService, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.keda.service._address", str)
    with pytest.raises(ServerError, match=r"^keda\.listen: .* cannot start: .*bind"):
        KedaService(board, f"127.0.0.1:{service.port}").start()


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("nowhere", "not a valid address"),
        ("192.0.2.1:0", "does not belong to this machine"),
        ("no-such-host.invalid:0", "the host name has no address"),
    ],
)
def test_an_address_that_cannot_be_used_is_an_error(
    board: Board, listen: str, message: str
) -> None:
    with pytest.raises(ServerError, match=rf"^keda\.listen: .*{message}"):
        KedaService(board, listen).start()


@pytest.mark.parametrize("package", ["grpc", "google.protobuf.message"])
def test_a_missing_package_is_an_error_that_says_what_to_install(
    board: Board, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("exporter.keda.")]:
        if name != "exporter.keda.service":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ServerError, match=r"pip install 'mq-lag-exporter\[keda\]'"):
        KedaService(board, "127.0.0.1:0").start()


# TLS


class Site:
    """The files of the server, and what a client needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.issue(self.authority)
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))

    def issue(self, authority: trustme.CA) -> None:
        """Write a new certificate for the server."""
        issued = authority.issue_cert("127.0.0.1", "localhost")
        (self.folder / "c.pem").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
        (self.folder / "c.key").write_bytes(issued.private_key_pem.bytes())

    def tls(self, *, mutual: bool = False) -> KedaTls:
        return KedaTls(
            cert_file=self.folder / "c.pem",
            key_file=self.folder / "c.key",
            client_ca_file=self.folder / "ca.pem" if mutual else None,
        )


def credentials(trusted: trustme.CA, own: trustme.CA | None = None) -> grpc.ChannelCredentials:
    """Return those of a client that trusts one authority and has a certificate of another."""
    if own is None:
        return grpc.ssl_channel_credentials(trusted.cert_pem.bytes())
    issued = own.issue_cert("keda")
    return grpc.ssl_channel_credentials(
        trusted.cert_pem.bytes(),
        issued.private_key_pem.bytes(),
        issued.cert_chain_pems[0].bytes(),
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


Serve = Callable[[KedaTls], KedaService]


@pytest.fixture
def serve(board: Board) -> Iterator[Serve]:
    services = []

    def serve(tls: KedaTls) -> KedaService:
        service = KedaService(board, "127.0.0.1:0", tls)
        services.append(service)
        service.start()
        return service

    yield serve
    assert all(service.stop(5.0) for service in services)


def works(made: Made, service: KedaService, given: grpc.ChannelCredentials | None) -> bool:
    """Return whether a new client gets an answer."""
    with Client(made, service.port, given) as client:
        try:
            return client.is_active(**BILLING)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - its result is the test
            return False


def test_tls(made: Made, site: Site, serve: Serve) -> None:
    service = serve(site.tls())
    assert works(made, service, credentials(site.authority))
    assert not works(made, service, credentials(trustme.CA()))
    assert not works(made, service, None)


def test_client_certificates(made: Made, site: Site, serve: Serve) -> None:
    service = serve(site.tls(mutual=True))
    assert works(made, service, credentials(site.authority, site.authority))
    assert not works(made, service, credentials(site.authority, trustme.CA()))
    assert not works(made, service, credentials(site.authority))
    assert not works(made, service, None)
    assert works(made, service, credentials(site.authority, site.authority))


def test_changed_files_are_used_for_new_connections(made: Made, site: Site, serve: Serve) -> None:
    service = serve(site.tls(mutual=True))
    old, new = site.authority, trustme.CA()
    with Client(made, service.port, credentials(old, old)) as connected:
        stream = connected.stream(**BILLING)
        assert stream.next()
        site.issue(new)
        new.cert_pem.write_to_path(str(site.folder / "ca.pem"))
        with structlog.testing.capture_logs() as logs:
            assert works(made, service, credentials(new, new))
        assert "keda.certificates_replaced" in {entry["event"] for entry in logs}
        assert not works(made, service, credentials(old, old))
        assert not works(made, service, credentials(new, old))
        assert connected.is_active(**BILLING)
        stream.cancel()


def test_the_last_valid_files_stay_in_use_and_the_problem_is_logged_once(
    made: Made, site: Site, serve: Serve
) -> None:
    service = serve(site.tls(mutual=True))
    mine = credentials(site.authority, site.authority)
    with structlog.testing.capture_logs() as logs:
        for name in ("c.pem", "c.key", "ca.pem"):
            path = site.folder / name
            before = path.read_bytes()
            for content in (b"", b"no PEM\n", before[:200]):
                path.write_bytes(content)
                assert works(made, service, mine)
                assert works(made, service, mine)
            path.unlink()
            assert works(made, service, mine)
            path.write_bytes(before)
            assert works(made, service, mine)
    events = Counter(entry["event"] for entry in logs)
    assert events.keys() == {"keda.certificates_unusable"}
    assert 6 <= events["keda.certificates_unusable"] <= 12


@pytest.mark.parametrize(
    ("name", "key"), [("c.pem", "cert_file"), ("c.key", "key_file"), ("ca.pem", "client_ca_file")]
)
@pytest.mark.parametrize("fault", ["absent", "folder", "text", "large"])
def test_a_file_that_cannot_be_used_is_an_error_at_start(
    board: Board, site: Site, name: str, key: str, fault: str
) -> None:
    path = site.folder / name
    path.unlink()
    if fault == "folder":
        path.mkdir()
    elif fault == "text":
        path.write_text("no PEM\n")
    elif fault == "large":
        path.write_bytes(b"x" * 2_000_000)
    with pytest.raises(ServerError) as caught:
        KedaService(board, "127.0.0.1:0", site.tls(mutual=True)).start()
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_a_key_of_another_certificate_is_an_error_at_start(board: Board, site: Site) -> None:
    shutil.copy(site.folder / "c.key", site.folder / "old.key")
    site.issue(site.authority)
    shutil.copy(site.folder / "old.key", site.folder / "c.key")
    with pytest.raises(ServerError, match="its own private key"):
        KedaService(board, "127.0.0.1:0", site.tls()).start()


# Config and metrics


def test_the_config_has_defaults_and_paths_beside_the_file() -> None:
    assert KedaConfig() == KedaConfig(listen="0.0.0.0:9878", tls=None)
    given = {"listen": ":1", "tls": {"cert_file": "c.pem", "key_file": "/k", "client_ca_file": "a"}}
    found = KedaConfig.model_validate(given, context={"folder": Path("/etc/mq")})
    assert found.tls == KedaTls(
        cert_file=Path("/etc/mq/c.pem"), key_file=Path("/k"), client_ca_file=Path("/etc/mq/a")
    )


@pytest.mark.parametrize(
    "given",
    [
        {"listen": "nowhere"},
        {"port": 9878},
        {"tls": {"cert_file": "c.pem"}},
        {"tls": {"cert_file": "c.pem", "key_file": ""}},
        {"tls": {"cert_file": "c.pem", "key_file": "k", "ca_file": "a"}},
    ],
)
def test_an_invalid_config_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KedaConfig.model_validate(given)


def test_answers_are_counted_by_method_and_code(made: Made, board: Board) -> None:
    own = OwnMetrics(lambda: 0)
    assert b"mq_keda" not in own.render("text")
    service = KedaService(board, "127.0.0.1:0", counted=own.keda_answered)
    service.start()
    start = own.render("text").decode()
    assert 'mq_keda_requests_total{code="OK",method="IsActive"} 0.0' in start
    with Client(made, service.port) as client:
        client.is_active(**BILLING)
        client.metrics(**BILLING)
        client.metrics(**BILLING)
        refused(client.metrics, group="unknown")
        refused(client.specs)
    service.stop(5.0)
    for fmt in ("text", "openmetrics"):
        found = own.render(fmt).decode()
        assert 'mq_keda_requests_total{code="OK",method="IsActive"} 1.0' in found
        assert 'mq_keda_requests_total{code="OK",method="GetMetrics"} 2.0' in found
        assert 'mq_keda_requests_total{code="NOT_FOUND",method="GetMetrics"} 1.0' in found
        assert 'mq_keda_requests_total{code="INVALID_ARGUMENT",method="GetMetricSpec"} 1.0' in found


# Documentation

ROOT = Path(__file__).parents[2]


def blocks() -> list[Any]:
    """Return the YAML documents in docs/keda.md."""
    text = (ROOT / "docs" / "keda.md").read_text()
    found = re.findall(r"^ *```yaml\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [each for block in found for each in yaml.safe_load_all(block)]


def test_the_documented_manifest_is_the_one_to_apply() -> None:
    manifest = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "scaledobject.yaml").read_text())
    assert manifest in blocks()
    spec = manifest["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicas"
    assert spec["fallback"]["replicas"] >= 1
    [trigger] = spec["triggers"]
    assert trigger["metadata"].keys() - {"scalerAddress"} <= set(SubscriptionName._fields)


def test_the_documented_config_is_valid() -> None:
    [config] = [each["keda"] for each in blocks() if "keda" in each]
    assert KedaConfig.model_validate(config).tls is not None
