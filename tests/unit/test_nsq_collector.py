"""Which nsqds are read, and how invalid replies are handled."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler

import pytest

from exporter.collectors.access import Login
from exporter.collectors.nsq.collector import NsqCollector
from exporter.collectors.nsq.nodes import MOST_NODES, KnownNodes, NodeListing, Nsqd
from exporter.collectors.nsq.probe import NsqProber
from exporter.collectors.nsq.protocol import NsqConnection
from exporter.collectors.nsq.settings import NsqSettings
from exporter.collectors.rabbitmq.collector import RabbitCollector
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.model import CollectError, Until
from exporter.name_filter import NOTHING, NameMatcher
from testbed.ports import PortBlock
from tests.support.site import Site, says, status

STATS = {"version": "1.3.0", "start_time": 1, "topics": []}


def trickle(request: BaseHTTPRequestHandler) -> None:
    """Sends header after header, and never a body."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        request.wfile.write(b"X: y\r\n")
        time.sleep(0.05)


@pytest.fixture
def site() -> Iterator[Callable[[], Site]]:
    ports = PortBlock()
    made: list[Site] = []

    def make() -> Site:
        made.append(Site(ports.take()))
        return made[-1]

    yield make
    for each in made:
        each.close()
    ports.release()


def nsqd(site: Site) -> Site:
    """Answer as an nsqd."""
    host, port = site.name.split(":")
    info = {"broadcast_address": host, "http_port": int(port), "tcp_port": 1}
    site.replies = {"/stats": says(STATS), "/info": says(info)}
    return site


def test_a_server_that_trickles_its_headers_hides_no_other_one(site: Callable[[], Site]) -> None:
    good, bad = nsqd(site()), nsqd(site())
    collector = NsqCollector(NsqSettings("s", nsqds=(good.url, bad.url), probe=False))
    collector.discovery(Until(20))
    bad.replies["/stats"] = trickle
    for _ in range(3):
        began = time.monotonic()
        look = collector.backlog(Until(1.0))
        assert time.monotonic() - began < 10
        assert look.nodes == {good.name: True, bad.name: False}
        assert [problem.reason for problem in look.problems] == ["timeout"]
    collector.close()


SILENT = 100
"""Several times as many as there are threads."""


@pytest.fixture
def silent() -> Iterator[list[Nsqd]]:
    """Nodes that accept connections and never answer."""
    ports = PortBlock()
    port = ports.take()
    with ExitStack() as opened:
        nodes = []
        for number in range(1, SILENT + 1):
            host = f"127.9.9.{number}"
            opened.enter_context(socket.create_server((host, port)))
            name = f"{host}:{port}"
            nodes.append(Nsqd(f"http://{name}", name, (host, port)))
        yield nodes
    ports.release()


def registered(node: Nsqd) -> dict[str, object]:
    host, port = node.name.split(":")
    ports = {"http_port": int(port), "tcp_port": int(port)}
    return {"broadcast_address": host, "topics": [], "tombstones": [], **ports}


def test_registered_nodes_that_never_answer_hide_no_other_one(
    site: Callable[[], Site], silent: list[Nsqd]
) -> None:
    good, lookupd = nsqd(site()), site()
    own = Nsqd(good.url, good.name, ("127.0.0.1", 1))
    producers = [registered(node) for node in (*silent, own)]
    lookupd.replies = {"/nodes": says({"producers": producers})}
    collector = NsqCollector(NsqSettings("s", lookupds=(lookupd.url,), probe=False))
    collector.discovery(Until(20))
    seen: list[bool] = []
    while sum(seen) < 3 and len(seen) < 20:
        try:
            look = collector.backlog(Until(1.5))
        except CollectError:
            seen.append(False)
        else:
            assert look.nodes is not None
            assert len(look.nodes) == SILENT + 1
            seen.append(look.nodes[good.name])
    assert any(seen), "its turn comes"
    assert seen == sorted(seen), "who has answered is asked first from then on"
    collector.close()


def test_probes_of_nodes_that_never_answer_end_at_the_deadline(silent: list[Nsqd]) -> None:
    prober = NsqProber(NsqSettings("s", lookupds=("http://a",)))
    began = time.monotonic()
    probes = prober.run(silent, Until(1.0))
    assert time.monotonic() - began < 2.5, "they would take 3.5 s one batch after the other"
    assert [probe.node for probe in probes.probes] == [node.name for node in silent]
    assert not any(probe.sent for probe in probes.probes)
    assert {problem.reason for problem in probes.problems} == {"timeout"}
    prober.close()


def test_an_nsqd_that_is_no_nsqd(site: Callable[[], Site]) -> None:
    other = nsqd(site())
    other.replies["/stats"] = says([1, 2])
    collector = NsqCollector(NsqSettings("s", nsqds=(other.url,), probe=False))
    with pytest.raises(CollectError) as raised:
        collector.backlog(Until(20))
    assert raised.value.reason == "invalid"
    assert "is this an nsq" in str(raised.value)
    collector.close()


def test_a_look_that_failed_is_not_repeated_before_its_time(site: Callable[[], Site]) -> None:
    node = nsqd(site())
    topic = {"topic_name": "t", "depth": 3, "message_count": 3, "channels": []}
    node.replies["/stats"] = says({**STATS, "topics": [topic]})
    collector = NsqCollector(NsqSettings("s", nsqds=(node.url,), probe=False))
    collector.discovery(Until(20))
    while not collector.due_early("backlog"):  # that poll took too long
        collector.backlog(Until(20))
    node.replies["/stats"] = status(503)
    with pytest.raises(CollectError):
        collector.backlog(Until(20))
    assert not collector.due_early("backlog")
    collector.close()


def test_a_node_keeps_its_name_while_it_does_not_answer() -> None:
    url, tcp = "http://localhost:4151", ("localhost", 4150)
    named = Nsqd(url, "10.0.0.1:4151", tcp)
    silent = Nsqd(url, "localhost:4151")
    known = KnownNodes()
    known.update(NodeListing({silent.name: silent}, True, ()))
    assert set(known.nodes) == {"localhost:4151"}
    known.update(NodeListing({named.name: named}, True, ()))
    assert set(known.nodes) == {"10.0.0.1:4151"}
    known.update(NodeListing({silent.name: silent}, True, ()))
    assert known.nodes == {"10.0.0.1:4151": named}


def test_only_what_is_neither_listed_nor_answers_is_gone() -> None:
    node = Nsqd("http://a:1", "a:1", ("a", 2))
    known = KnownNodes()
    known.update(NodeListing({"a:1": node}, True, ()))
    for _ in range(3):
        known.update(NodeListing({}, False, ()))
    assert known.drop_silent(()) == frozenset(), "those were incomplete"
    for _ in range(2):
        known.update(NodeListing({}, True, ()))
    assert known.drop_silent({"a:1"}) == frozenset(), "it answers"
    assert known.drop_silent(()) == {"a:1"}
    assert known.nodes == {}


def nodes_called(names: Iterable[str]) -> dict[str, Nsqd]:
    return {name: Nsqd(f"http://{name}", name, (name, 1)) for name in names}


def test_nodes_that_are_registered_all_the_time_do_not_pile_up() -> None:
    known = KnownNodes()
    assert known.update(NodeListing(nodes_called(["good:1"]), True, ())) == 0
    known.drop_silent(["good:1"])
    for turn in range(4):
        made = nodes_called(f"{turn}.{number}:1" for number in range(MOST_NODES))
        # What cannot be read makes each discovery incomplete, so that no node is forgotten.
        left_out = known.update(NodeListing(made, False, (), 1))
        assert left_out == (1 if turn == 0 else MOST_NODES)
        assert len(known.nodes) == MOST_NODES
        assert "good:1" in known.nodes
        assert len(known.nodes.keys() & made.keys()) == MOST_NODES - 1, "who is listed no more goes"
        known.drop_silent(["good:1"])


def test_each_of_too_many_nodes_gets_its_turn() -> None:
    known = KnownNodes()
    made = nodes_called(f"{number}:1" for number in range(MOST_NODES + 200))
    seen: set[str] = set()
    for _ in range(30):
        assert known.update(NodeListing(made, True, ())) > 0
        known.drop_silent(())
        seen |= known.nodes.keys()
    assert seen == made.keys()


@pytest.mark.parametrize("rows", [[{"foo": 1}], [{"name": "q"}], ["q"], {"queues": []}])
def test_a_list_that_is_not_of_queues_is_no_bug_of_ours(
    site: Callable[[], Site], rows: object
) -> None:
    other = site()
    other.replies = {"/api/queues": says(rows), "/api/nodes": says([])}
    collector = RabbitCollector(RabbitSettings("s", (other.url,), probe=False))
    with pytest.raises(CollectError) as raised:
        collector.backlog(Until(20))
    assert raised.value.reason == "invalid"
    collector.close()


def test_a_queue_whose_numbers_are_none_is_the_only_one_that_is_not_read(
    site: Callable[[], Site],
) -> None:
    other = site()
    odd = {"vhost": "/", "name": "odd", "messages": "x"}
    good = {"vhost": "/", "name": "good", "messages": 3, "messages_unacknowledged": 0}
    other.replies = {"/api/queues": says([odd, good, 5]), "/api/nodes": says([])}
    collector = RabbitCollector(RabbitSettings("s", (other.url,), probe=False))
    look = collector.backlog(Until(20))
    assert {depth.place.destination: depth.lag for depth in look.depths} == {
        "odd": None,
        "good": 3,
    }
    assert look.unreadable == 2
    assert look.whole == frozenset(), "one row does not tell what it is of"
    assert [problem.subject for problem in look.problems] == ["queue 'odd' in vhost '/'"]
    counted = collector.rates(Until(20))
    assert [counts.place.destination for counts in counted.counts] == ["good"]
    assert counted.unreadable == 2
    collector.close()


def test_a_queue_whose_own_page_fails_is_told_unless_it_is_gone(site: Callable[[], Site]) -> None:
    """Whatever digits names and addresses have."""
    other = site()
    queue = {"vhost": "/", "name": "404", "messages": 3, "messages_unacknowledged": 0}
    other.replies = {"/api/queues": says([queue]), "/api/nodes": says([])}
    collector = RabbitCollector(RabbitSettings("s", (other.url,), probe=False))
    collector.backlog(Until(20))
    assert collector.latency(Until(20)).problems == []
    other.replies["/api/queues/%2F/404"] = status(500)
    with pytest.raises(CollectError) as raised:
        collector.latency(Until(20))
    assert raised.value.reason == "unreachable"
    collector.close()


def test_every_vhost_has_its_turn(site: Callable[[], Site]) -> None:
    other = site()
    names = [f"v{number}" for number in range(120)]
    other.replies = {
        "/api/overview": says({"object_totals": {"queues": 5}}),
        "/api/vhosts": says([{"name": name} for name in names]),
        "/api/queues": says([]),
        "/api/nodes": says([]),
        **{f"/api/queues/{name}": says([]) for name in names[:-1]},
        f"/api/queues/{names[-1]}": status(401),
    }
    collector = RabbitCollector(RabbitSettings("s", (other.url,), probe=False))
    collector.backlog(Until(20))
    found = [problem for _ in range(4) for problem in collector.discovery(Until(20)).problems]
    assert {problem.subject for problem in found} == {"vhost 'v119'"}
    collector.close()


def lookupd(site: Site, *producers: dict[str, object]) -> Site:
    """Answer as an nsqlookupd with which these nodes have registered."""
    site.replies = {"/nodes": says({"producers": list(producers)})}
    return site


def producer(host: object, node: Site) -> dict[str, object]:
    port = int(node.name.rpartition(":")[2])
    return {"broadcast_address": host, "http_port": port, "tcp_port": 1}


LOGIN = Login("lag", "s3cret")


@pytest.mark.parametrize(
    ("host", "trusted", "gets_it"),
    [
        pytest.param("127.0.0.1", NOTHING, True, id="the host is one of the config"),
        pytest.param("localhost", NOTHING, False, id="only the nsqlookupd names it"),
        pytest.param("localhost", NameMatcher(("local.*",)), True, id="nodes allows it"),
        pytest.param("localhost", NameMatcher(("nsqd-.*",)), False, id="nodes allows others"),
    ],
)
def test_only_hosts_that_the_user_names_get_the_login(
    site: Callable[[], Site], host: str, trusted: NameMatcher, *, gets_it: bool
) -> None:
    """Anybody who can reach an nsqlookupd can register a host there."""
    node, seen = nsqd(site()), []
    answer = node.replies["/stats"]

    def reply(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get("Authorization"))
        answer(request) if seen[-1] or gets_it else request.send_error(401)

    node.replies["/stats"] = reply
    directory = lookupd(site(), producer(host, node))
    settings = NsqSettings(
        "s", lookupds=(directory.url,), login=LOGIN, trusted=trusted, probe=False
    )
    with closing(NsqCollector(settings)) as collector:
        if gets_it:
            assert collector.backlog(Until(20)).problems == []
        else:
            with pytest.raises(CollectError, match=r"nodes\.include") as raised:
                collector.backlog(Until(20))
            assert raised.value.reason == "unauthorized"
    assert {value is not None for value in seen} == {gets_it}


@pytest.mark.parametrize("host", ["evil/?x=", "a b", "user@host", "", 7, None, "\ud800"])
def test_a_registered_node_that_is_no_host_is_left_out(
    site: Callable[[], Site], host: object
) -> None:
    good, directory = nsqd(site()), site()
    lookupd(directory, producer(host, good), producer("127.0.0.1", good))
    settings = NsqSettings("s", lookupds=(directory.url,), probe=False)
    with closing(NsqCollector(settings)) as collector:
        facts = collector.discovery(Until(20))
        assert [problem.reason for problem in facts.problems] == ["invalid"]
        assert "broadcast_address" in facts.problems[0].message
        assert facts.unreadable == 1
        assert collector.backlog(Until(20)).nodes == {good.name: True}


@pytest.mark.parametrize("host", ["nsqd..local", "n" * 64, "."], ids=["empty", "long", "dot"])
def test_a_name_that_no_host_can_have_is_that_node_s_problem(
    site: Callable[[], Site], host: str
) -> None:
    """Python refuses such names with another error than the resolver's."""
    good = nsqd(site())
    directory = lookupd(site(), producer("127.0.0.1", good), producer(host, site()))
    settings = NsqSettings(
        "s", lookupds=(directory.url,), nsqds=(f"http://{host}:4151",), probe=True
    )
    with closing(NsqCollector(settings)) as collector:
        found = collector.backlog(Until(20))
        assert {problem.reason for problem in found.problems} == {"unreachable"}
        collector.probe(Until(20))
    with pytest.raises(CollectError, match="not a valid host name"):
        NsqConnection((host, 4150), Until(20))
