"""The listing of a cluster's groups, made whole by what else tells of them."""

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
from exporter.collectors.kafka.groups import Listing, describe_groups, named_listing, read_listing
from exporter.collectors.kafka.other_groups import OtherGroups
from exporter.collectors.kafka.selection import Selection
from exporter.collectors.kafka.settings import KafkaSettings
from exporter.collectors.kafka.topics import listing_problem, sees_offsets_topic
from exporter.collectors.kafka.unaskable_names import NotShown
from exporter.model import Deadline, GroupState, Problem

CONFIRM_SHARE = 0.2
"""Part of what is left of a run's time for groups that are not listed any more."""
FIRST_LOOKS = 30.0
"""Seconds after the start in which a listing is not taken as complete where its completeness cannot be seen."""


class GroupListing:
    """Lists the groups, and knows which ones the listing before had."""

    def __init__(
        self,
        settings: KafkaSettings,
        selection: Selection,
        others: OtherGroups,
        *,
        name_partitions: bool,
    ) -> None:
        self.known: Mapping[str, GroupState] = {}
        """Groups of the last backlog, with their states."""
        self.hidden: Mapping[str, int] = {}
        """Kind to how many groups exist that cannot be asked about."""
        self._settings = settings
        self._selection = selection
        self._others = others
        self._name_partitions = name_partitions
        self._not_shown = NotShown(settings.name)
        self._born = time.monotonic()
        self._unlisted: Problem | None = None
        """Why the listing before could not be whole: it is asked for before the metadata."""

    def begin(self, client: KafkaClient, deadline: Deadline) -> Future[Any] | None:
        """Ask for the listing; None where the groups are named in the config."""
        if self._settings.group_names is not None:
            return None
        return client.admin.list_consumer_groups(request_timeout=client.seconds(deadline))

    def read(
        self,
        client: KafkaClient,
        metadata: ClusterMetadata,
        nodes: Mapping[int, str],
        listing: Future[Any] | None,
        deadline: Deadline,
    ) -> Listing:
        """Return the groups that there are, by the listing and what else tells."""
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
    ) -> Listing:
        """Wait for the listing; `unlisted` says why the listing can't be whole, where that is known."""
        if listing is None:
            return named_listing(self._settings.group_names or ())
        try:
            result = client.wait(listing, deadline.remaining())
        except KafkaException as error:
            raise client.fault(error) from None
        groups = read_listing(result, self._selection.group)
        if unlisted is not None:
            groups = replace(groups, problems=(*groups.problems, unlisted), complete=False)
        if not groups.complete:
            # What a silent broker does not list is read all the same: its groups may have moved.
            groups = replace(groups, states={**self._missing(groups), **groups.states})
        return groups

    def _missing(self, groups: Listing) -> dict[str, GroupState]:
        """Return the groups of the look before that are not listed now."""
        others = self._others.states()
        return {
            name: state
            for name, state in self.known.items()
            if name not in groups.states and name not in others
        }

    def _ask_for_missing(self, client: KafkaClient, groups: Listing, deadline: Deadline) -> Listing:
        """Ask by name for groups that are not listed any more, where nothing else tells whether all are listed.

        A coordinator says of a deleted group that it does not exist. It says nothing while its partition has no leader,
        which is when a listing lacks groups without an error. A collector that has just started does not know which groups
        to ask for, so that its listings are not complete for a while.
        """
        young = time.monotonic() - self._born < FIRST_LOOKS
        missing = self._missing(groups)
        look = describe_groups(client, missing, lambda _: False, deadline)
        refused = {each.subject for each in look.problems if each.reason == "unauthorized"}
        kept = {
            name: state
            for name, state in missing.items()
            if f"group {name}" not in refused
            and (name not in look.groups or look.groups[name].state != "dead")
        }
        unsure = [each for each in look.problems if each.reason != "unauthorized"]
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
