"""Finds vhosts that the user may not access.

Without permissions, a vhost looks as if it had no queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporter.collectors.rabbitmq.api import ManagementApi, in_path
from exporter.collectors.rabbitmq.queues import ListedQueue, QueueSelection
from exporter.collectors.reply_rows import RowError, Rows, number_or_none, text
from exporter.model import CollectError, Deadline, Problem

QUEUES_COLUMN = "object_totals.queues"
"""Column of the overview with the number of queues."""
MOST = 50
"""Number of vhosts without visible queues that are tried in one run."""


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
    """Return the selected vhosts that the user may not access.

    `listed` is the length of the list of queues. More is asked only if the `overview` counts more
    queues. If there are many vhosts, each `turn` tries others. Raises `CollectError`.
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
    """Return whether the overview counts no more queues than were listed.

    False if the count is unreadable.
    """
    totals = overview.get("object_totals") if isinstance(overview, dict) else None
    try:
        total = number_or_none(totals, "queues")
    except RowError:
        return False
    return total is not None and total <= listed


def no_permissions(user: str | None, vhost: str) -> Problem:
    """Return the problem for a vhost that the user may not access."""
    return Problem(
        "unauthorized",
        f"vhost {vhost!r}",
        f"the user {user!r} has no permissions in this vhost, so its queues are not visible; grant "
        f"empty permissions "
        f"(rabbitmqctl set_permissions -p VHOST USER '^$' '^$' '^$'), or exclude the vhost with "
        f"vhosts.exclude",
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
