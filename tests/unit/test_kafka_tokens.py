"""Tokens of a Kafka source over hours of made-up time: renewed, kept in an outage, refused, and by whom they are used."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from exporter.collectors.kafka.login.tokens import PAUSE, Token, Tokens
from exporter.model import CollectError
from testbed.waiting import wait_until

LIFETIME = 300.0
EPOCH = 1_000_000.0
DOWN = CollectError("unreachable", "token endpoint https://login.example/token: connection refused")


@dataclass
class Issuer:
    """Makes tokens, or fails; time is made up."""

    now: float = 0.0
    count: int = 0
    fault: Exception | None = None
    lifetime: float = LIFETIME
    gate: threading.Event = field(default_factory=threading.Event)
    tried: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def fetch(self) -> Token:
        self.tried += 1
        assert self.gate.wait(30)
        if self.fault is not None:
            raise self.fault
        self.count += 1
        return Token(f"token-{self.count}", self.lifetime, "lag", {"logicalCluster": "lkc-1"})

    def tokens(self) -> Tokens:
        return Tokens("s", self.fetch, lambda: self.now, lambda: EPOCH + self.now)


def librdkafka_asks(tokens: Tokens, issuer: Issuer) -> float:
    """Do what librdkafka does at a refresh; return when it asks next, or fail as it would."""
    value, expiry, _, _ = tokens("")
    assert value == f"token-{issuer.count}", "the newest"
    assert expiry > EPOCH + issuer.now, "librdkafka refuses a token that has expired"
    return issuer.now + 0.8 * (expiry - EPOCH - issuer.now)


def test_an_hour_and_more_of_tokens_that_live_for_five_minutes() -> None:
    """One client that began with the source and one that began in between; and a task each ten seconds."""
    issuer = Issuer()
    tokens = issuer.tokens()
    asks = {"admin": 0.0, "reader": 137.0}
    while issuer.now < 2 * 3600:
        for client, at in asks.items():
            if issuer.now >= at:
                asks[client] = librdkafka_asks(tokens, issuer)
        assert tokens.get().value.startswith("token-")
        assert tokens.fault() is None
        issuer.now += 10
    # A token serves both, so there is one each 225 to 250 s.
    assert 7200 / 250 - 1 <= issuer.count <= 7200 / 225 + 1


def test_an_outage_of_the_issuer_is_not_seen_while_the_token_is_valid() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    assert tokens("") == ("token-1", EPOCH + LIFETIME, "lag", {"logicalCluster": "lkc-1"})
    issuer.fault = DOWN
    for now in range(0, int(LIFETIME) - 5, 5):
        issuer.now = float(now)
        assert tokens.get().value == "token-1"
        assert tokens("")[0] == "token-1"
        assert tokens.fault() is None
    assert issuer.tried > 5, "it was asked from time to time"
    issuer.now = LIFETIME
    with pytest.raises(CollectError, match="connection refused"):
        tokens.get()
    assert str(tokens.fault()) == str(DOWN)
    issuer.fault = None
    with pytest.raises(CollectError, match="connection refused"):
        tokens.get()
    issuer.now += PAUSE
    assert tokens.get().value == "token-2"
    assert tokens.fault() is None


def test_librdkafka_asks_again_soon_where_a_token_could_not_be_renewed() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    at = librdkafka_asks(tokens, issuer)
    assert at == 0.8 * LIFETIME
    issuer.now, issuer.fault = at, DOWN
    for _ in range(5):
        value, expiry, _, _ = tokens("")
        assert value == "token-1"
        assert expiry - EPOCH - issuer.now == pytest.approx(PAUSE / 0.8)
        issuer.now += PAUSE
    issuer.fault = None
    assert librdkafka_asks(tokens, issuer) == pytest.approx(issuer.now + 0.8 * LIFETIME)
    assert issuer.count == 2


def test_an_issuer_that_is_down_is_not_asked_by_everyone_all_the_time() -> None:
    issuer = Issuer(fault=DOWN)
    tokens = issuer.tokens()
    for _ in range(100):
        with pytest.raises(CollectError, match="connection refused"):
            tokens.get()
        issuer.now += 0.1
    assert issuer.tried == 2


def test_tasks_do_not_wait_for_an_issuer_that_hangs_while_the_token_is_valid() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    tokens.get()
    issuer.now = 0.9 * LIFETIME
    issuer.gate.clear()
    assert tokens.get().value == "token-1"
    assert tokens.get().value == "token-1"
    assert issuer.tried == 2, "one attempt at a time"
    issuer.gate.set()
    wait_until(lambda: tokens.get().value == "token-2", "the new token")


def test_all_that_wait_for_the_first_token_get_the_same() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    issuer.gate.clear()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(tokens.get().value), daemon=True)
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: issuer.tried == 1, "the first to ask")
    issuer.gate.set()
    for thread in threads:
        thread.join(30)
    assert found == ["token-1"] * 5


def test_a_token_that_a_broker_refuses_is_replaced() -> None:
    issuer = Issuer()
    tokens = issuer.tokens()
    tokens.get()
    tokens.refused()
    assert tokens("")[0] == "token-2"
    assert tokens("")[0] == "token-2"


def test_what_a_library_raises_is_not_shown_since_it_may_hold_a_secret() -> None:
    issuer = Issuer(fault=RuntimeError("hunter2"))
    tokens = issuer.tokens()
    with pytest.raises(CollectError) as raised:
        tokens.get()
    assert (raised.value.reason, str(raised.value)) == ("internal", "no token: RuntimeError")


def test_a_token_is_in_no_text() -> None:
    assert "hunter2" not in repr(Token("hunter2", 1.0))
