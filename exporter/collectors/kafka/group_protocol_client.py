"""Streams groups and share groups, which librdkafka can neither list nor describe.

They are requested with Kafka's protocol over separate connections. librdkafka reads the commits of
streams groups as for any group. Share groups do not commit: brokers are asked for their offsets.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.group_answers import (
    group_members,
    group_state,
    merged,
    problems_of,
    refusal,
    words,
)
from exporter.collectors.kafka.login.mechanisms import shape
from exporter.collectors.kafka.raw.brokers import Brokers
from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.group_descriptions import Described, describe
from exporter.collectors.kafka.raw.group_protocol import (
    GROUP_ID_NOT_FOUND,
    KINDS,
    REFUSED,
    TOPIC_REFUSED,
    Kind,
    Refused,
)
from exporter.collectors.kafka.raw.group_requests import (
    Listed,
    find_coordinators,
    list_groups,
    supports_groups,
)
from exporter.collectors.kafka.raw.security import LibrdkafkaOnlyError, security_of
from exporter.collectors.kafka.raw.share_offsets import SharePartition, share_offsets
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.model import CollectError, Deadline, GroupMembers, GroupState, Memberships, Problem

UNSUPPORTED_SECONDS = 600.0
"""Seconds for which a broker without support for these groups is not asked; it may be upgraded."""
NO_FAILURE = frozenset({GROUP_ID_NOT_FOUND, TOPIC_REFUSED})
"""Errors of descriptions that are no failure.

The group is of another kind, or it reads a topic that the user has no right to see.
"""


@dataclass(frozen=True, slots=True)
class OtherGroup:
    """A streams or share group."""

    kind: Kind
    state: GroupState
    coordinator: str
    """host:port"""


@dataclass(frozen=True, slots=True)
class ShareOffsets:
    """Offsets of share groups by name, and what could not be read."""

    rows: Mapping[str, Sequence[SharePartition]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Groups whose offsets the brokers do not return, and why."""
    problems: Sequence[Problem] = ()


class GroupProtocolClient:
    """The streams and share groups of one cluster.

    One thread lists groups and reads offsets; another one may describe groups.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        properties: Callable[[], Mapping[str, object]],
        allowed: Callable[[str], bool],
    ) -> None:
        self._named = settings.group_names
        self._allowed = allowed
        self._readers = Brokers(properties)
        self._describers = Brokers(properties)
        self._unsupported_until: dict[str, float] = {}
        self._known: Mapping[str, OtherGroup] = {}
        self._obstacle = _obstacle(settings)
        self._failing: str | None = None
        self._suspects: tuple[str, ...] = ()
        self._absent: frozenset[str] = frozenset()

    @property
    def obstacle(self) -> str | None:
        """Why brokers cannot be asked; None if they can."""
        if self._obstacle is not None:
            return f"only librdkafka can connect with {self._obstacle}"
        return self._failing

    @property
    def suspects(self) -> Sequence[str]:
        """Groups known only by name, while brokers cannot be asked."""
        if self.obstacle is None:
            return ()
        return [name for name in self._suspects if name not in self._known]

    @property
    def known(self) -> Mapping[str, OtherGroup]:
        """The groups of the last list, by name."""
        return self._known

    def of_kind(self, kind: Kind) -> list[str]:
        """Return the names of the groups of one kind."""
        return [name for name, group in self._known.items() if group.kind == kind]

    def renew(self) -> None:
        """Ask again where secrets were refused. Any thread may call it."""
        self._readers.renew()
        self._describers.renew()

    def close(self) -> None:
        """Close the connections."""
        self._readers.close()
        self._describers.close()

    # Listing

    def find(self, addresses: Iterable[str], deadline: Deadline, *, whole: bool) -> list[Problem]:
        """Ask all brokers for groups; groups of brokers without an answer stay known.

        `whole` is False if other sources show that brokers cannot list all groups.
        """
        if self._obstacle is not None:
            return []
        now = time.monotonic()
        able = [each for each in addresses if now >= self._unsupported_until.get(each, 0.0)]
        self._readers.keep(able)
        self._describers.keep(able)
        if self._named is None:
            found, problems = self._ask_listing(able, deadline)
        else:
            found, problems = self._ask_named(able, self._named, deadline)
        self._failing = str(problems[0].message) if len(problems) == len(able) > 0 else None
        kept = {} if whole and not problems else self._known
        self._known = {**kept, **found}
        return problems if self._known else []

    def _ask_listing(
        self, addresses: Sequence[str], deadline: Deadline
    ) -> tuple[dict[str, OtherGroup], list[Problem]]:
        question = partial(_list_if_possible, deadline=deadline)
        answers = self._readers.ask(dict.fromkeys(addresses, question), deadline)
        found: dict[str, OtherGroup] = {}
        for address, groups in self._capable(answers).items():
            for name, kind, state in groups:
                known = found.get(name)
                # While a coordinator moves, two brokers may list a group; the one with members is
                # right.
                if self._allowed(name) and (known is None or known.state in ("dead", "empty")):
                    found[name] = OtherGroup(kind, group_state(state), address)
        return found, problems_of("list of streams and share groups", answers)

    def _capable(
        self, answers: Mapping[str, list[Listed] | CollectError | None]
    ) -> dict[str, list[Listed]]:
        for address, answer in answers.items():
            if answer is None:
                self._unsupported_until[address] = time.monotonic() + UNSUPPORTED_SECONDS
        return {each: answer for each, answer in answers.items() if isinstance(answer, list)}

    def _ask_named(
        self, addresses: Sequence[str], names: Sequence[str], deadline: Deadline
    ) -> tuple[dict[str, OtherGroup], list[Problem]]:
        """Find out which of the named groups are streams or share groups.

        Only coordinators know it.
        """
        found: dict[str, OtherGroup] = {}
        problems: list[Problem] = []
        for address in addresses:
            answers = self._readers.ask(
                {address: partial(_locate_if_possible, groups=names, deadline=deadline)}, deadline
            )
            coordinators = answers[address]
            if coordinators is None:
                self._unsupported_until[address] = time.monotonic() + UNSUPPORTED_SECONDS
            elif isinstance(coordinators, CollectError):
                problems += problems_of("coordinators of groups", answers)
            else:
                described, missing = self._describe(self._readers, coordinators, KINDS, deadline)
                if len(coordinators) < len(names):
                    text = "some have no coordinator now"
                    missing.append(Problem("unreachable", "coordinators of groups", text))
                for name, (kind, description) in described.items():
                    found[name] = OtherGroup(
                        kind, group_state(description.state), coordinators[name]
                    )
                return found, missing
        return found, problems

    def read_names(self, client: KafkaClient, deadline: Deadline) -> None:
        """If brokers cannot be asked, read group names with librdkafka, which gives only the names.

        A name is dropped if it is missing twice in a row. Raises `KafkaException` if the list is
        unreadable.
        """
        if self.obstacle is None or self._named is not None:
            return
        found = frozenset(filter(self._allowed, names_of_others(client, deadline)))
        kept = set(self._suspects) - found - self._absent
        self._absent = frozenset(set(self._suspects) - found)
        self._suspects = tuple(sorted(found | kept))

    # Members

    def describe(
        self, names: Iterable[str], wanted: Callable[[str], bool], deadline: Deadline
    ) -> Memberships:
        """Describe these groups; `wanted` selects the topics."""
        known = self._known
        chosen = [name for name in names if name in known]
        groups: dict[str, GroupMembers] = {}
        problems: list[Problem] = []
        for kind in KINDS:
            coordinators = {
                name: known[name].coordinator for name in chosen if known[name].kind == kind
            }
            described, missing = self._describe(self._describers, coordinators, (kind,), deadline)
            groups.update(
                (name, group_members(description, wanted))
                for name, (_, description) in described.items()
            )
            problems += missing
        return Memberships(groups, problems)

    def _describe(
        self,
        brokers: Brokers,
        coordinators: Mapping[str, str],
        kinds: Sequence[Kind],
        deadline: Deadline,
    ) -> tuple[dict[str, tuple[Kind, Described]], list[Problem]]:
        found: dict[str, tuple[Kind, Described]] = {}
        problems: list[Problem] = []
        for kind in kinds:
            questions = {
                address: partial(_described, kind=kind, groups=groups, deadline=deadline)
                for address, groups in _by_coordinator(coordinators).items()
            }
            answers = brokers.ask(questions, deadline)
            problems += problems_of(f"descriptions of {kind} groups", answers)
            for name, answer in merged(answers).items():
                if isinstance(answer, Described):
                    found[name] = (kind, answer)
                elif answer.error not in NO_FAILURE:
                    problems.append(refusal(name, answer))
        return found, problems

    # Offsets of share groups

    def offsets(self, deadline: Deadline) -> ShareOffsets:
        """Return the offsets of the share groups."""
        coordinators = {name: self._known[name].coordinator for name in self.of_kind("share")}
        if not coordinators:
            return ShareOffsets()
        questions = {
            address: partial(share_offsets, groups=groups, deadline=deadline)
            for address, groups in _by_coordinator(coordinators).items()
        }
        answers = self._readers.ask(questions, deadline)
        problems = problems_of("offsets of share groups", answers)
        rows: dict[str, Sequence[SharePartition]] = {}
        refused: dict[str, str] = {}
        for name, answer in merged(answers).items():
            if not isinstance(answer, Refused):
                rows[name] = answer
            elif answer.error == GROUP_ID_NOT_FOUND:
                rows[name] = ()
            elif answer.error in REFUSED or not answer.error:
                refused[name] = words(answer)
            else:
                problems.append(refusal(name, answer))
        return ShareOffsets(rows, refused, problems)


def names_of_others(client: KafkaClient, deadline: Deadline) -> list[str]:
    """Return names of listed groups that the request for usual groups does not find.

    This call describes every group, so it is too expensive for each cycle. Raises `KafkaException`.
    """
    timeout = max(deadline.remaining(), 0.1)
    with warnings.catch_warnings():
        # Deprecated in favour of a call that leaves out these groups.
        warnings.simplefilter("ignore", DeprecationWarning)
        groups: list[Any] = client.admin.list_groups(timeout=timeout)
    return [str(each.id) for each in groups if each.state == "Dead" and not each.protocol_type]


def _obstacle(settings: KafkaSettings) -> str | None:
    """Return the property that only librdkafka can use to connect; None if there is none."""
    try:
        security_of(shape(settings))
    except LibrdkafkaOnlyError as error:
        return str(error)
    return None


def _list_if_possible(connection: BrokerConnection, deadline: Deadline) -> list[Listed] | None:
    return list_groups(connection, deadline) if supports_groups(connection) else None


def _locate_if_possible(
    connection: BrokerConnection, groups: Sequence[str], deadline: Deadline
) -> dict[str, str] | None:
    return find_coordinators(connection, groups, deadline) if supports_groups(connection) else None


def _described(
    connection: BrokerConnection, kind: Kind, groups: Sequence[str], deadline: Deadline
) -> dict[str, Described | Refused]:
    return describe(connection, kind, groups, deadline)


def _by_coordinator(coordinators: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, address in coordinators.items():
        found[address].append(name)
    return found
