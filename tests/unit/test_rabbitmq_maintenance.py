"""Probes of nodes in maintenance mode.

Which node an address means, and what is reported if that is not known.
"""

from __future__ import annotations

from typing import Any, cast

import pytest

from exporter.collectors.rabbitmq.api import ManagementApi
from exporter.collectors.rabbitmq.maintenance import Address, Maintenance
from exporter.model import CollectError, NodeProbe, Probes, Problem, Until

NODES = {"rabbit@rabbit-1.internal": False, "rabbit@rabbit-2.internal": True}
REFUSED = "Connection refused; check amqp_url and that a node listens there"


class Api:
    """A management API that knows drained nodes, the node of a queue, and who listens where."""

    def __init__(self, nodes: dict[str, bool], queues: dict[str, str] | None = None) -> None:
        self.nodes = nodes
        self.queues = queues or {}
        self.listeners: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def rows(self, path: str, *_: Any, **__: str) -> list[dict[str, Any]]:
        self.asked.append(path)
        return [{"name": name, "being_drained": drained} for name, drained in self.nodes.items()]

    def get(self, path: str, *_: Any, **__: str) -> Any:
        self.asked.append(path)
        if path == "overview":
            return {"listeners": self.listeners}
        name = path.rpartition("/")[2]
        if name not in self.queues:
            raise CollectError("invalid", "not found")
        return {"node": self.queues[name]}


def address(host: str, queue: str = "", port: int = 5672) -> Address:
    return Address(f"{host}:{port}", f"amqp://{host}:{port}", queue)


def excused(maintenance: Maintenance, *addresses: tuple[Address, bool]) -> Probes:
    """The probes after a round in which some addresses answered and the others refused."""
    probes = [
        NodeProbe(each.node, works, *([0.001] * 3 if works else [None] * 3))
        for each, works in addresses
    ]
    problems = [
        Problem("unreachable", each.node, REFUSED) for each, works in addresses if not works
    ]
    return maintenance.excuse(Probes(probes, problems), [each for each, _ in addresses], Until(5.0))


def made(api: Api) -> Maintenance:
    return Maintenance("jobs", cast("ManagementApi", api), "/")


@pytest.mark.parametrize("host", ["rabbit-2.internal", "rabbit-2", "RABBIT-2.internal"])
def test_a_node_is_told_by_its_host(host: str) -> None:
    found = excused(made(Api(NODES)), (address("rabbit-1", "q1"), True), (address(host), False))
    assert [probe.node for probe in found.probes] == ["rabbit-1:5672"]
    assert found.problems == []
    assert found.resting == {f"{host}:5672"}


def test_another_node_that_fails_meanwhile_fails() -> None:
    found = excused(made(Api(NODES)), (address("rabbit-1"), False), (address("rabbit-2"), False))
    assert [probe.node for probe in found.probes] == ["rabbit-1:5672"]
    assert [problem.message for problem in found.problems] == [REFUSED]


def test_nodes_of_one_host_are_told_by_their_ports() -> None:
    api = Api({"a@box": False, "b@box": True})
    api.listeners = [{"node": "a@box", "port": 5672}, {"node": "b@box", "port": 5673}]
    maintenance = made(api)
    failing = (address("box", port=5673), False)
    assert excused(maintenance, failing).resting == {"box:5673"}
    assert excused(maintenance, failing).resting == {"box:5673"}
    assert api.asked.count("overview") == 1


def test_an_address_that_says_nothing_is_known_from_when_it_worked() -> None:
    api = Api({**dict.fromkeys(NODES, False)}, {"probe.1": "rabbit@rabbit-2.internal"})
    maintenance = made(api)
    for _ in range(3):
        excused(maintenance, (address("10.0.0.7", "probe.1"), True))
    assert api.asked == ["queues/%2F/probe.1"], "it is asked once a connection"
    api.nodes = NODES
    assert excused(maintenance, (address("10.0.0.7"), False)).resting == {"10.0.0.7:5672"}


def test_where_the_node_is_not_known_the_problem_says_who_is_in_maintenance() -> None:
    found = excused(made(Api(NODES)), (address("10.0.0.7"), False))
    assert [probe.node for probe in found.probes] == ["10.0.0.7:5672"]
    (problem,) = found.problems
    assert problem.message.startswith(REFUSED)
    assert problem.message.endswith("maintenance mode: rabbit@rabbit-2.internal")
    assert found.resting == frozenset()


def test_a_failure_without_maintenance_is_left_as_it_is() -> None:
    found = excused(made(Api(dict.fromkeys(NODES, False))), (address("rabbit-2"), False))
    assert [problem.message for problem in found.problems] == [REFUSED]
