"""Lists a cluster's groups, and completes the list from other sources."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import ClusterMetadata

from exporter.collectors.deadlines import Share
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.filters import KafkaFilters
from exporter.collectors.kafka.groups import (
    GroupList,
    describe_groups,
    named_groups,
    parse_group_list,
)
from exporter.collectors.kafka.other_groups import OtherGroups
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import listing_problem, sees_offsets_topic
from exporter.collectors.kafka.unsupported_group_ids import UnsupportedGroupIds
from exporter.model import Deadline, GroupState, Problem

CONFIRM_SHARE = 0.2
"""Fraction of a run's remaining time for groups that are no longer listed."""
UNSURE_SECONDS = 30.0
"""Seconds after the start in which a list counts as incomplete if its completeness is unknown."""


class GroupLister:
    """Lists groups, and remembers the groups of the last list."""

    def __init__(
        self,
        settings: KafkaSettings,
        filters: KafkaFilters,
        others: OtherGroups,
        *,
        name_partitions: bool,
    ) -> None:
        self.known: Mapping[str, GroupState] = {}
        """Groups of the last backlog, with their states."""
        self.hidden: Mapping[str, int] = {}
        """Number of groups that cannot be requested, by kind."""
        self._settings = settings
        self._filters = filters
        self._others = others
        self._name_partitions = name_partitions
        self._not_shown = UnsupportedGroupIds(settings.name)
        self._born = time.monotonic()
        self._unlisted: Problem | None = None
        """Why the last list was incomplete.

        Metadata tells this, and is read after the list.
        """

    def begin(self, client: KafkaClient, deadline: Deadline) -> Future[Any] | None:
        """Request the list; returns None if the groups are named in the config."""
        if self._settings.group_names is not None:
            return None
        return client.admin.list_consumer_groups(request_timeout=client.request_seconds(deadline))

    def read(
        self,
        client: KafkaClient,
        metadata: ClusterMetadata,
        nodes: Mapping[int, str],
        listing: Future[Any] | None,
        deadline: Deadline,
    ) -> GroupList:
        """Return the existing groups, from the list and other sources."""
        unlisted = None if self._name_partitions else listing_problem(metadata)
        groups = self.end(client, listing, deadline, unlisted or self._unlisted)
        self._unlisted = unlisted
        if not self._name_partitions and not sees_offsets_topic(metadata):
            groups = self._ask_for_missing(client, groups, Share(deadline, CONFIRM_SHARE))
        if not groups.problems:
            # Each broker has answered, whatever it leads.
            client.answered(nodes)
            self.hidden = self._not_shown.count(groups.hidden, groups.twice)
        return groups

    def end(
        self,
        client: KafkaClient,
        listing: Future[Any] | None,
        deadline: Deadline,
        unlisted: Problem | None = None,
    ) -> GroupList:
        """Wait for the list; `unlisted` is why the list is known to be incomplete."""
        if listing is None:
            return named_groups(self._settings.group_names or ())
        try:
            result = client.wait(listing, deadline.remaining())
        except KafkaException as error:
            raise client.fault(error) from None
        groups = parse_group_list(result, self._filters.group)
        if unlisted is not None:
            groups = replace(groups, problems=(*groups.problems, unlisted), complete=False)
        if not groups.complete:
            # Groups of a broker without an answer are still read: they may have moved to another
            # broker.
            groups = replace(groups, states={**self._missing(groups), **groups.states})
        return groups

    def _missing(self, groups: GroupList) -> dict[str, GroupState]:
        """Return the groups of the previous poll that are not listed now."""
        others = self._others.states()
        return {
            name: state
            for name, state in self.known.items()
            if name not in groups.states and name not in others
        }

    def _ask_for_missing(
        self, client: KafkaClient, groups: GroupList, deadline: Deadline
    ) -> GroupList:
        """Ask by name for groups that are no longer listed, if the list may be incomplete.

        A coordinator answers that a deleted group does not exist. While the group's partition has
        no leader, it does not answer: that is when a list lacks groups without an error. A new
        collector does not know which groups to ask for, so its lists count as incomplete for a
        while.
        """
        young = time.monotonic() - self._born < UNSURE_SECONDS
        missing = self._missing(groups)
        memberships = describe_groups(client, missing, lambda _: False, deadline)
        refused = {each.subject for each in memberships.problems if each.reason == "unauthorized"}
        kept = {
            name: state
            for name, state in missing.items()
            if f"group {name}" not in refused
            and (name not in memberships.groups or memberships.groups[name].state != "dead")
        }
        unsure = [each for each in memberships.problems if each.reason != "unauthorized"]
        problems = groups.problems
        if unsure:
            message = (
                f"{len(kept)} groups are not listed any more and cannot be asked for, such as "
            )
            message += f"{unsure[0].subject}: {unsure[0].message}"
            problems += (Problem(unsure[0].reason, "list of groups", message),)
        return replace(
            groups,
            states={**groups.states, **kept},
            problems=problems,
            complete=groups.complete and not unsure and not young,
        )
