"""Findings of `check` about streams and share groups, and about configured groups not found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import KafkaException

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.group_protocol_client import GroupProtocolClient
from exporter.collectors.kafka.groups import describe_groups
from exporter.collectors.kafka.hidden_groups import names_of
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import Deadline, Finding, Problem

FEATURE = "streams and share groups"
SHARE = 0.3
"""Fraction of the time that a broker which hangs may use."""


def other_group_findings(
    client: KafkaClient,
    settings: KafkaSettings,
    allowed: Callable[[str], bool],
    nodes: Iterable[str],
    deadline: Deadline,
) -> Sequence[Finding]:
    """Test reading these groups from the brokers at `nodes`."""
    protocol_client = GroupProtocolClient(settings, client.properties, allowed)
    try:
        problems = protocol_client.find(nodes, Share(deadline, SHARE), whole=True)
        finding = _suspects(client, protocol_client, deadline) if protocol_client.obstacle else None
        findings = [finding or _found(protocol_client, problems, deadline)]
        if settings.group_names is not None:
            findings += _absent(client, settings.group_names, protocol_client, deadline)
    finally:
        protocol_client.close()
    return findings


def _found(
    protocol_client: GroupProtocolClient, problems: Sequence[Problem], deadline: Deadline
) -> Finding:
    """Describe which groups exist, and which are unreadable."""
    if problems:
        return Finding(FEATURE, ok=False, detail=f"{problems[0].subject}: {problems[0].message}")
    share, streams = protocol_client.of_kind("share"), protocol_client.of_kind("streams")
    offsets = protocol_client.offsets(Share(deadline, SHARE))
    unread = {name: offsets.refused.get(name, "") for name in share if name not in offsets.rows}
    if unread:
        why = next(filter(None, unread.values()), None)
        why = why or next((each.message for each in offsets.problems), "no answer")
        detail = f"{_count(len(unread), 'share')} not shown: {names_of(unread)}; {why}"
        return Finding(FEATURE, ok=False, detail=detail)
    if not share and not streams:
        return Finding(FEATURE, ok=True, detail="there are none, or the user cannot see them")
    return Finding(
        FEATURE, ok=True, detail=f"streams groups: {len(streams)}, share groups: {len(share)}"
    )


def _suspects(
    client: KafkaClient, protocol_client: GroupProtocolClient, deadline: Deadline
) -> Finding:
    """Describe the groups by name if brokers cannot be asked."""
    try:
        protocol_client.read_names(client, deadline)
    except KafkaException as error:
        return Finding(FEATURE, ok=False, detail=str(client.fault(error)))
    why = f"librdkafka cannot read them, and {protocol_client.obstacle}"
    names = dict.fromkeys(protocol_client.suspects, "")
    if not names:
        return Finding(
            FEATURE, ok=True, detail=f"there are none, or the user cannot see them ({why})"
        )
    detail = (
        f"{_count(len(names), 'streams or share')} known only by name: {names_of(names)}; {why}. "
        "Streams groups are shown without members, share groups are not shown; use a listener with "
        "TLS, SASL PLAIN or SCRAM for the exporter"
    )
    return Finding(FEATURE, ok=False, detail=detail)


def _absent(
    client: KafkaClient,
    names: Sequence[str],
    protocol_client: GroupProtocolClient,
    deadline: Deadline,
) -> list[Finding]:
    """Describe which of the named groups do not exist."""
    usual = [name for name in names if name not in protocol_client.known]
    memberships = describe_groups(client, usual, lambda _: True, deadline)
    absent = {name: "" for name, found in memberships.groups.items() if found.state == "dead"}
    if not absent:
        return []
    also = " (or are streams or share groups)" if protocol_client.obstacle else ""
    one = len(absent) == 1
    detail = (
        f"groups.names contains {len(absent)} group{'' if one else 's'} that "
        f"{'does' if one else 'do'} not exist{also}: {names_of(absent)}; check the spelling (a "
        "group is shown once it exists)"
    )
    return [Finding("named groups", ok=False, detail=detail)]


def _count(number: int, kind: str) -> str:
    return f"{number} {kind} {'group is' if number == 1 else 'groups are'}"
