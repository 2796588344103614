"""The judgement in a subscription's row, for the JSON, the page and the terminal."""

from __future__ import annotations

import math
from typing import Any

from exporter.judgement.judge import Judge


def judgement_row(judge: Judge) -> dict[str, Any]:
    """Return the judgement JSON-ready. Unknown values are null.

    `time_to_drain_seconds` is also null if the backlog does not shrink: then `drains` is false.
    """
    seconds = judge.time_to_drain
    thresholds = judge.thresholds
    return {
        "status": judge.status,
        "status_since": None if judge.since is None else round(judge.since, 3),
        "status_reason": judge.reason,
        "cause": judge.cause,
        "causes": [{"cause": each.name, "evidence": each.evidence} for each in judge.causes],
        "drains": None if seconds is None else not math.isinf(seconds),
        "time_to_drain_seconds": None
        if seconds is None or math.isinf(seconds)
        else round(seconds, 3),
        "consumers_expected": thresholds.consumers_expected,
        "thresholds": {
            "lag_messages": thresholds.lag_messages,
            "lag_seconds": thresholds.lag_seconds,
            "consume_ratio": thresholds.consume_ratio,
            "stop_seconds": thresholds.stop_seconds,
        },
    }
