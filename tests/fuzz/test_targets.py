"""Each parser returns a valid result or refuses its input; it raises nothing else.

The targets and their corpus are in `tests/fuzz`; `make fuzz` runs them for longer.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz import requests
from tests.fuzz.target import CORPUS
from tests.fuzz.targets import TARGETS


@pytest.fixture(autouse=True, scope="module")
def _daemon() -> Iterator[None]:
    yield
    requests.close()


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_does_no_harm(name: str) -> None:
    target = TARGETS[name]
    assert target.corpus
    for data in target.corpus:
        target.check(data)


@pytest.mark.parametrize("name", TARGETS)
def test_random_input_does_no_harm(name: str) -> None:
    TARGETS[name].run()


def test_every_corpus_is_of_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
