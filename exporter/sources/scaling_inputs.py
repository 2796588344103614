"""Asks Prometheus servers for the further parts of the scaling score."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import structlog

from exporter.collectors.access_config import login_of, tls_of
from exporter.collectors.http import HttpClient
from exporter.config.scaling import InputConfig
from exporter.model import CollectError, Until
from exporter.scrub import shown
from exporter.sources.scaling_policies import Question

SECONDS = 10.0
"""Time limit for one query."""
MISSED = 3
"""A result is used for this many intervals, and one time limit."""
SHOWN = 200


class QueryResult(NamedTuple):
    """The last good result of a query."""

    value: float
    at: float


class ScalingInputs:
    """Runs the queries when they are due. `read` can be called from any thread."""

    def __init__(
        self, given: Mapping[Question, InputConfig], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.failures: Counter[str] = Counter()
        """Failed queries, by reason."""
        self._given = dict(given)
        self._clock = clock
        self._clients = {
            question: HttpClient("scaling inputs", tls_of(each.tls), login_of(each))
            for question, each in self._given.items()
        }
        self._results: dict[Question, QueryResult] = {}
        self._due = dict.fromkeys(self._given, 0.0)
        self._failed: set[Question] = set()
        self._closed = False
        self._log = structlog.get_logger(__name__)

    def read(self, key: Hashable) -> float | None:
        """Return the last result of a query; None if there is none that is new enough."""
        result = self._results.get(key) if isinstance(key, Question) else None
        if result is None or not isinstance(key, Question):
            return None
        limit = MISSED * self._given[key].interval + SECONDS
        return result.value if self._clock() - result.at <= limit else None

    def follow(self, before: ScalingInputs) -> None:
        """Continue with the counters and results of the inputs of another config."""
        self.failures.update(before.failures)
        self._failed |= before._failed & self._given.keys()
        results = before._results.copy()
        self._results |= {key: results[key] for key in self._given if key in results}

    def run_due(self, beat: Callable[[], None] = lambda: None) -> None:
        """Run the queries that are due. A failed one is counted, and logged once.

        `beat` is called before each query, because many slow ones take long.
        """
        for question, each in self._given.items():
            if self._closed:
                return
            beat()
            if self._clock() < self._due[question]:
                continue
            self._due[question] = self._clock() + each.interval
            try:
                value = self._ask(question)
            except CollectError as error:
                self.failures[error.reason] += 1
                if question not in self._failed:
                    self._failed.add(question)
                    self._log.warning(
                        "scaling.input_failed",
                        query=shown(question.query, SHOWN),
                        reason=error.reason,
                        error=str(error),
                    )
                continue
            if question in self._failed:
                self._failed.discard(question)
                self._log.info("scaling.input_works", query=shown(question.query, SHOWN))
            self._results[question] = QueryResult(value, self._clock())

    def close(self) -> None:
        """Close the connections, and ask no more."""
        self._closed = True
        for client in self._clients.values():
            client.close()

    def _ask(self, question: Question) -> float:
        fault: CollectError | None = None
        for address in question.addresses:
            try:
                answer = self._clients[question].get_json(
                    f"{address}/api/v1/query", Until(SECONDS), {"query": question.query}
                )
                return number_of(answer)
            except CollectError as error:
                fault = error
        raise fault or CollectError("invalid", "there is no address")


def number_of(answer: Any) -> float:
    """Return the number in the answer of a query. Raises `CollectError`.

    See https://prometheus.io/docs/prometheus/latest/querying/api/: a scalar, or a vector with one
    sample.
    """
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict) or answer.get("status") != "success":
        raise CollectError("invalid", "the answer is not that of a Prometheus")
    result = data.get("result")
    if data.get("resultType") == "vector":
        if not isinstance(result, list) or len(result) != 1:
            count = len(result) if isinstance(result, list) else 0
            raise CollectError("invalid", f"the query returns {count} series; it must return one")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    elif data.get("resultType") != "scalar":
        raise CollectError("invalid", "the query must return one number, not a range of times")
    try:
        value = float(result[1])  # type: ignore[index]
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        raise CollectError("invalid", "the result of the query is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise CollectError("invalid", f"the query returns {value:g}; it must return 0 or more")
    return value
