"""Findings of `check` about consumer groups: which are listed, and their committed offsets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.findings import LARGE_SHARE, NOTHING, finding_of_many, is_large
from exporter.collectors.kafka.groups import GroupList, named_groups, parse_group_list
from exporter.collectors.kafka.offsets import read_commits
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.unsupported_group_ids import ADVICE
from exporter.model import Deadline, Finding, Problem

LISTING_SHARE, COMMITS_SHARE = 0.3, 0.35
"""Fraction of the remaining time that each step may take; a broker that hangs uses all of it."""
_NO_POSITIONS = Finding("positions (lag)", ok=True, detail=NOTHING)


class GroupFindings:
    """Lists the groups or takes the configured ones, and reads their committed offsets."""

    def __init__(
        self,
        client: KafkaClient,
        settings: KafkaSettings,
        filters: KafkaFilters,
        deadline: Deadline,
    ) -> None:
        self._client = client
        self._named = settings.group_names
        self._filters = filters
        self._deadline = deadline

    def findings(self) -> tuple[Sequence[str], Sequence[Finding]]:
        """Return the readable groups, and the findings on all groups."""
        listing, fault = self._listed()
        if self._named is not None:
            return self._by_name(named_groups(self._named), listing)
        if listing is None:
            return [], [Finding("groups", ok=False, detail=fault, required=True), _NO_POSITIONS]
        positions, _ = self._positions(listing.states)
        return list(listing.states), [
            _listing_finding(listing),
            *_hidden_findings(listing),
            positions,
        ]

    def _listed(self) -> tuple[GroupList | None, str]:
        """Return the group list; or None and the error."""
        share = Share(self._deadline, LISTING_SHARE)
        allowed = self._filters.group if self._named is None else (lambda _: True)
        try:
            future = self._client.admin.list_consumer_groups(
                request_timeout=self._client.request_seconds(share)
            )
            return self._client.read(
                future, share.remaining(), lambda result: parse_group_list(result, allowed)
            ), ""
        except KafkaException as error:
            return None, str(self._client.fault(error))

    def _by_name(
        self, named: GroupList, listing: GroupList | None
    ) -> tuple[Sequence[str], Sequence[Finding]]:
        positions, problems = self._positions(named.states)
        refused = [each for each in problems if each.reason == "unauthorized"]
        missing = _missing_names(named, listing, refused)
        if refused:
            detail = f"{refused[0].subject}: {refused[0].message}"
            finding = Finding("groups", ok=False, detail=detail, required=True)
        elif missing:
            required = is_large(missing, named.states)
            finding = Finding("groups", ok=False, detail="; ".join(missing), required=required)
        else:
            detail = f"{len(named.states)} groups from groups.names"
            finding = Finding("groups", ok=True, detail=detail, required=True)
        unreadable = {each.subject for each in refused}
        names = [name for name in named.states if f"offsets of group {name}" not in unreadable]
        if refused and names:
            positions, _ = self._positions(dict.fromkeys(names, "unknown"))
        return names, [finding, *_hidden_findings(named), positions]

    def _positions(self, groups: Mapping[str, Any]) -> tuple[Finding, Sequence[Problem]]:
        if not groups:
            return Finding("positions (lag)", ok=True, detail=NOTHING), ()
        share = Share(self._deadline, COMMITS_SHARE)
        commits = read_commits(self._client, groups, self._filters.topics, share)
        counts = [
            sum(offset is not None for found in by_topic.values() for offset in found.values())
            for _, by_topic in commits.positions.values()
        ]
        showing = sum(1 for count in counts if count)
        failed = len(groups) - len(commits.positions)
        detail = f"{showing} groups have committed offsets on {sum(counts)} partitions"
        if showing < len(counts):
            # A broker leaves out offsets on topics that the user may not see, without an error.
            detail += (
                f"; {len(counts) - showing} groups have none: they have never committed, "
                "or the user lacks Describe on their topics"
            )
        if not commits.problems and showing < LARGE_SHARE * len(counts):
            return Finding("positions (lag)", ok=False, detail=detail, required=True), ()
        return finding_of_many(
            "positions (lag)", failed, len(groups), "groups", detail, commits.problems
        ), commits.problems


def _listing_finding(listing: GroupList) -> Finding:
    if listing.problems:
        first = listing.problems[0]
        detail = (
            f"{first.subject}: {first.message}; the other brokers list {len(listing.states)} groups"
        )
        return Finding("groups", ok=False, detail=detail, required=True)
    if not listing.states and not listing.hidden:
        detail = (
            "no groups are visible; if groups exist, give the user Describe on the groups (or on "
            "the cluster), or list them in groups.names, and check groups.include and "
            "groups.exclude"
        )
        return Finding("groups", ok=False, detail=detail)
    return Finding("groups", ok=True, detail=f"{len(listing.states)} groups", required=True)


def _hidden_findings(listing: GroupList) -> Iterable[Finding]:
    for kind, count in listing.hidden.items():
        required = count >= LARGE_SHARE * (len(listing.states) + sum(listing.hidden.values()))
        detail = f"{count} group{'s' if count > 1 else ''} cannot be read: {ADVICE[kind]}"
        yield Finding(
            f"groups with {kind.replace('_', ' ')}", ok=False, detail=detail, required=required
        )
    if listing.twice:
        names = ", ".join(sorted(map(repr, listing.twice))[:5])
        detail = (
            f"listed more than once: {names}; if this persists, another group has an id that "
            "starts with this name and a NUL character, and that group cannot be read"
        )
        yield Finding("groups with unreadable id", ok=False, detail=detail)


def _missing_names(
    named: GroupList, listing: GroupList | None, refused: Sequence[Problem]
) -> list[str]:
    """Describe the configured groups that do not exist, with the most similar existing name."""
    if listing is None or not listing.complete:
        return []
    hidden = {each.subject for each in refused}
    found = []
    for name in named.states:
        if name in listing.states or f"offsets of group {name}" in hidden:
            continue
        near = difflib.get_close_matches(name, listing.states, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        found.append(f"group {name!r} does not exist{hint}")
    return found
