"""What the user may not see: a vhost without rights looks like one without queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.collectors.rabbitmq.api import ManagementApi, in_path
from exporter.collectors.rabbitmq.queues import ListedQueue, QueueSelection
from exporter.collectors.reply_rows import RowError, Rows, number_or_none, text
from exporter.model import CollectError, Deadline, Problem

QUEUES_COLUMN = "object_totals.queues"
"""Column of the overview that tells how many queues there are."""
MOST = 50
"""Vhosts without a queue to be seen that are tried in one run."""


def hidden_vhosts(
    api: ManagementApi,
    overview: Any,
    selection: QueueSelection,
    queues: Sequence[ListedQueue],
    listed: int,
    deadline: Deadline,
    *,
    turn: int,
) -> list[str]:
    """Return the vhosts that are wanted and that the user may not look into.

    `listed` queues were in the list of all. Asks further only where the `overview` counts more. Of many vhosts each
    `turn` tries others. Raises `CollectError`.
    """
    if _all_are_listed(overview, listed):
        return []
    seen = {queue.name[0] for queue in queues}
    rows = api.rows("vhosts", deadline, columns="name")
    names = list(Rows().each(rows, lambda row: text(row, "name")))
    candidates = [name for name in names if name not in seen and selection.vhost(name)]
    if not candidates:
        return []
    first = turn * MOST % len(candidates)
    tried = [*candidates[first:], *candidates[:first]][:MOST]
    return [name for name in tried if _refused(api, name, deadline)]


def _all_are_listed(overview: Any, listed: int) -> bool:
    """Tell whether the overview counts no more queues than were listed; a count that cannot be read tells nothing."""
    totals = overview.get("object_totals") if isinstance(overview, dict) else None
    try:
        total = number_or_none(totals, "queues")
    except RowError:
        return False
    return total is not None and total <= listed


def told(user: str | None, vhost: str) -> Problem:
    """Return what to say of a vhost that the user may not look into."""
    return Problem(
        "unauthorized",
        f"vhost {vhost!r}",
        f"the user {user!r} has no permissions in this vhost, so its queues are not visible; grant empty permissions "
        f"(rabbitmqctl set_permissions -p VHOST USER '^$' '^$' '^$'), or exclude the vhost with vhosts.exclude",
    )


def _refused(api: ManagementApi, vhost: str, deadline: Deadline) -> bool:
    try:
        api.get(
            f"queues/{in_path(vhost)}",
            deadline,
            page="1",
            page_size="1",
            disable_stats="true",
            columns="name",
        )
    except CollectError as error:
        return error.reason == "unauthorized"
    return False
