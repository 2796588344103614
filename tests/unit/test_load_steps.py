"""How the steps of a workload are written, and what is computed from them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from exporter.load import Step, StepError, parse_steps
from exporter.load.report import report
from exporter.load.steps import EXAMPLE
from exporter.load.tally import SAMPLE, StepTally


def test_a_step_goes_on_from_the_one_before() -> None:
    assert parse_steps(EXAMPLE) == [
        Step(rate=100.0, seconds=30.0),
        Step(rate=500.0, seconds=30.0, size=10_000, consumers=4, takes=100.0, fails=0.05),
    ]
    assert parse_steps("rate=5 takes=2\n\ntakes=all fails=0.5\n") == [
        Step(rate=5.0, takes=2.0),
        Step(rate=5.0, takes=None, fails=0.5),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no steps; expected"),
        (" ; ", "no steps"),
        ("rate", "step 1: rate: expected one of rate=, for=, size="),
        ("rate=5; speed=3", "step 2: speed=3: expected one of"),
        ("rate=fast", "expected a number of messages per second"),
        ("rate=-1", "expected a number of messages per second"),
        ("rate=nan", "expected a number of messages per second"),
        ("rate=inf", "expected a number of messages per second"),
        ("for=30", "step 1: for=30: a duration needs a unit"),
        ("for=500ms", "step 1: for=500ms: expected 1s or more"),
        ("size=7B", "expected a size from 8B to 1MB"),
        ("size=2MB", "expected a size from 8B to 1MB"),
        ("size=10", "expected a size"),
        ("consumers=1.5", "expected an integer from 0 to 1000"),
        ("consumers=-1", "expected an integer from 0 to 1000"),
        ("takes=0", "write consumers=0"),
        ("fails=5", "expected a share of the deliveries, such as 5%"),
        ("fails=101%", "expected a share"),
    ],
)
def test_a_step_that_can_not_be_says_what_is_expected(text: str, words: str) -> None:
    with pytest.raises(StepError) as caught:
        parse_steps(text)
    assert words in str(caught.value)


def test_figures_are_those_of_the_latencies() -> None:
    tally = StepTally()
    for number in range(1, 1_001):
        tally.done(number / 1_000)
    tally.count(sent=1_100, refused=50, rejected=200)
    result = tally.result(Step(), 10.0)
    assert result.mean == pytest.approx(0.5005)
    assert result.p50 == pytest.approx(0.5, abs=0.002)
    assert result.p95 == pytest.approx(0.95, abs=0.002)
    assert result.p99 == pytest.approx(0.99, abs=0.002)
    assert result.longest == 1.0
    assert result.error_rate == pytest.approx(250 / 1_250)


def test_of_many_latencies_a_sample_is_kept() -> None:
    tally = StepTally()
    for number in range(2 * SAMPLE):
        tally.done(number % 100)
    result = tally.result(Step(), 1.0)
    assert result.processed == 2 * SAMPLE
    assert result.p50 == pytest.approx(50, abs=3)
    assert result.mean == pytest.approx(49.5)


def test_a_step_in_which_nothing_came_has_no_latency() -> None:
    result = StepTally().result(Step(consumers=0, takes=5.0, fails=0.5), 1.0)
    assert (result.mean, result.p99, result.longest, result.error_rate) == (None, None, None, 0.0)
    out = io.StringIO()
    Console(file=out, width=120).print(report([result]))
    assert "100/s of 100 B, 0 consumers at 5/s, 50% fail" in out.getvalue()


def test_a_table_tells_of_messages_of_others() -> None:
    tally = StepTally()
    tally.done(1.0)
    tally.count(foreign=1_234)
    result = tally.result(Step(), 1.0)
    assert (result.processed, result.foreign, result.mean) == (1, 1_234, 1.0)
    out = io.StringIO()
    Console(file=out, width=120).print(report([result, result]))
    assert "2,468 messages that this run did not send were consumed" in out.getvalue()
    out = io.StringIO()
    Console(file=out, width=120).print(report([StepTally().result(Step(), 1.0)]))
    assert "did not send" not in out.getvalue()
