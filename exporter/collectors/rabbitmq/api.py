"""Client of RabbitMQ's management API. Uses the first of several addresses that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

from exporter.collectors.deadlines import Share
from exporter.collectors.http import HttpClient, StatusError
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.queues import Name
from exporter.collectors.reply_rows import Rows
from exporter.model import CollectError, Deadline

NOT_FOUND = HTTPStatus.NOT_FOUND

T = TypeVar("T")


class ManagementApi:
    """Asks the node that answered last; if it does not answer, the others."""

    def __init__(self, http: HttpClient, urls: tuple[str, ...]) -> None:
        self._http = http
        self._urls = urls
        self._current = 0

    @property
    def url(self) -> str:
        """The address in use."""
        return self._urls[self._current]

    def get(self, path: str, deadline: Deadline, **params: str) -> Any:
        """Return the response to GET `/api/` + `path`. Raises `CollectError`."""
        first = self._current
        count = len(self._urls)
        for turn in range(count):
            index = (first + turn) % count
            attempt = Share(deadline, 1.0 / (count - turn))
            try:
                found = self._http.get_json(f"{self._urls[index]}/api/{path}", attempt, params)
            except CollectError as error:
                if error.reason in ("timeout", "unreachable") and turn < count - 1:
                    continue
                raise
            self._current = index
            return found
        raise AssertionError("a source has an address")

    def recognize(self, path: str, rows: Sequence[Any], reader: Rows) -> None:
        """Raise `CollectError` if no row has a readable name: then RabbitMQ did not send it."""
        if rows and reader.nameless == len(rows):
            raise CollectError(
                "invalid",
                f"{self.url}/api/{path}: unexpected response; is this the management API?",
            )

    def rows(self, path: str, deadline: Deadline, **params: str) -> list[Mapping[str, Any]]:
        """Return the response, which must be a list of objects. Raises `CollectError`.

        Other elements of the list are replaced by empty objects, which are counted as unreadable
        later.
        """
        found = self.get(path, deadline, **params)
        objects = isinstance(found, list) and any(isinstance(row, dict) for row in found)
        if not objects and found != []:
            raise CollectError(
                "invalid",
                f"{self.url}/api/{path}: unexpected response; is this the management API?",
            )
        return [row if isinstance(row, dict) else {} for row in found]


def ask_each(
    pool: Pool, kind: str, names: Iterable[Name], ask: Callable[[Name], T], deadline: Deadline
) -> dict[Name, T | CollectError]:
    """Ask for several objects at the same time.

    Return each response or `CollectError` by the object's name.

    `kind` distinguishes objects of different kinds with the same name, and is used in messages.
    """
    keys = {f"{kind}{vhost}\n{name}": (vhost, name) for vhost, name in names}
    answers = pool.all_at_once({key: partial(ask, name) for key, name in keys.items()}, deadline)
    return {keys[key]: answer for key, answer in answers.items()}


def is_missing(error: CollectError) -> bool:
    """Return whether the server responded that the object does not exist."""
    return isinstance(error, StatusError) and error.status == NOT_FOUND


def in_path(name: str) -> str:
    """Return a name quoted as one segment of a URL's path."""
    return quote(name, safe="", errors="surrogatepass")
