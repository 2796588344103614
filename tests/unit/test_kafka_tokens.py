"""Tokens of a Kafka source over simulated hours.

Renewal, outages of the issuer, refused tokens and concurrent callers.
"""

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
    """Issues tokens or fails, in simulated time."""

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
    """Refresh as librdkafka does; return the time of its next refresh, or raise as it would."""
    value, expiry, _, _ = tokens("")
    assert value == f"token-{issuer.count}", "the newest"
    assert expiry > EPOCH + issuer.now, "librdkafka refuses a token that has expired"
    return issuer.now + 0.8 * (expiry - EPOCH - issuer.now)


def test_more_than_an_hour_of_tokens_valid_for_five_minutes() -> None:
    """Two clients that started at different times, and a task every ten seconds."""
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
    # Both use the same token, so there is a new one every 225 to 250 s.
    assert 7200 / 250 - 1 <= issuer.count <= 7200 / 225 + 1


def test_an_outage_of_the_issuer_has_no_effect_while_the_token_is_valid() -> None:
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


def test_librdkafka_asks_again_soon_if_a_token_was_not_renewed() -> None:
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


def test_an_issuer_that_is_down_is_asked_with_pauses() -> None:
    issuer = Issuer(fault=DOWN)
    tokens = issuer.tokens()
    for _ in range(100):
        with pytest.raises(CollectError, match="connection refused"):
            tokens.get()
        issuer.now += 0.1
    assert issuer.tried == 2


def test_tasks_with_a_valid_token_do_not_wait_for_an_issuer_that_hangs() -> None:
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


def test_all_callers_that_wait_for_the_first_token_get_the_same() -> None:
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


def test_errors_of_libraries_are_not_shown_because_they_may_contain_a_secret() -> None:
    issuer = Issuer(fault=RuntimeError("hunter2"))
    tokens = issuer.tokens()
    with pytest.raises(CollectError) as raised:
        tokens.get()
    assert (raised.value.reason, str(raised.value)) == ("internal", "no token: RuntimeError")


def test_no_text_contains_a_token() -> None:
    assert "hunter2" not in repr(Token("hunter2", 1.0))
