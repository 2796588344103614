"""The command that `scale` runs: its words, its end in time, its output."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from exporter.scale import command
from exporter.scale.advice import ValidAdvice
from exporter.scale.command import CommandOutcome
from exporter.scale.template import TemplateError, template_of, values_of, variables_of
from exporter.scaling.board import SubscriptionName
from exporter.scrub import learn
from testbed.children import is_alive
from testbed.waiting import wait_until

ODD = ["two words", "it's", 'say "hi"', "$(touch owned)", "`id`", "a;b|c&d", "*", "{group}", "\n"]
BUSY_SECONDS = 20.0
"""For what takes a moment, on a machine that is busy."""
STUBBORN = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2] == "all" else signal.SIG_DFL)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are given little time after SIGTERM."""
    monkeypatch.setattr(command, "TERM_SECONDS", 0.2)
    monkeypatch.setattr(command, "STOP_TERM_SECONDS", 0.2)


def run(
    *words: str, timeout: float = BUSY_SECONDS, stop: threading.Event | None = None
) -> CommandOutcome:
    return command.run(words, os.environ, timeout, stop or threading.Event())


def python(text: str, *arguments: str, timeout: float = BUSY_SECONDS) -> CommandOutcome:
    return run(sys.executable, "-c", text, *arguments, timeout=timeout)


def pids(path: Path, count: int) -> list[int]:
    """The pids that the processes of STUBBORN wrote."""

    def written() -> list[int]:
        found = [int(line) for line in path.read_text().split()] if path.exists() else []
        return found if len(found) == count else []

    return wait_until(written, "the processes of the command")


# Words


@pytest.mark.parametrize("name", ODD)
def test_a_name_stays_in_its_word(name: str, tmp_path: Path) -> None:
    template = template_of(
        f"{sys.executable} -c 'import sys; print(sys.argv[1:])' {{group}}=x{{consumers}}"
    )
    words = template.fill(values_of(SubscriptionName("shop", None, "orders", name), 3, None))
    outcome = command.run(words, os.environ, BUSY_SECONDS, threading.Event())
    assert (outcome.result, outcome.output) == ("success", repr([f"{name}=x3"]))
    assert not Path("owned").exists()


def test_placeholders_are_replaced_once_and_braces_can_be_written() -> None:
    template = template_of("run '{source}/{vhost}/{destination}' {before}-{consumers} {{x}} }")
    words = template.fill(values_of(SubscriptionName("{group}", "/", "a b", "g"), 3, 2))
    assert words == ["run", "{group}///a b", "2-3", "{x}", "}"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the command is empty"),
        ("'' {consumers}", "the command is empty"),
        ("docker compose up", "must contain {consumers}"),
        ("run {{consumers}}", "must contain {consumers}"),
        (
            "run {consumers} {replicas}",
            "unknown placeholder {replicas}; expected one of {consumers}",
        ),
        ("run {consumers} {}", "unknown placeholder {}"),
        ("run {consumers} {group!r}", "unknown placeholder {group!r}"),
        ("run 'x {consumers}", "cannot be split into words: No closing quotation"),
        ("{group} {consumers}", "the first word, cannot have placeholders"),
    ],
)
def test_a_wrong_command_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(TemplateError) as caught:
        template_of(text)
    assert complaint in str(caught.value)


def test_the_command_gets_the_advice_in_its_environment() -> None:
    told = ValidAdvice(4, 3, "saturated", "4, was 3: why", 1, 12, 0.5)
    assert variables_of(values_of(SubscriptionName("s", None, "d", "g"), 4, 3), told) == {
        "MQ_CONSUMERS": "4",
        "MQ_BEFORE": "3",
        "MQ_SOURCE": "s",
        "MQ_VHOST": "",
        "MQ_DESTINATION": "d",
        "MQ_GROUP": "g",
        "MQ_PRESENT": "3",
        "MQ_MINIMUM": "1",
        "MQ_MAXIMUM": "12",
        "MQ_SCORE": "0.5",
        "MQ_HELD": "saturated",
        "MQ_REASON": "4, was 3: why",
    }


# Ends


def test_an_exit_code_is_a_result() -> None:
    assert (run("true").result, run("true").code) == ("success", 0)
    assert (run("sh", "-c", "exit 3").result, run("sh", "-c", "exit 3").code) == ("failure", 3)
    assert run("sh", "-c", "kill -9 $$").code == -9


@pytest.mark.parametrize(
    ("word", "why"),
    [("/no/such/program", "No such file"), ("/etc", "Permission denied"), ("a\0b", "null byte")],
)
def test_a_command_that_cannot_start_is_a_result(word: str, why: str) -> None:
    outcome = run(word)
    assert (outcome.result, outcome.code) == ("not_started", None)
    assert why in outcome.output


def test_a_hanging_command_is_ended() -> None:
    outcome = python("import time; print('begun', flush=True); time.sleep(600)", timeout=1.5)
    assert (outcome.result, outcome.code) == ("timeout", -15)
    assert outcome.seconds < BUSY_SECONDS


@pytest.mark.parametrize("who", ["all", "parent"])
@pytest.mark.usefixtures("short")
def test_who_ignores_sigterm_is_killed_with_all_grandchildren(who: str, tmp_path: Path) -> None:
    path, stop, outcomes = tmp_path / "pids", threading.Event(), list[CommandOutcome]()
    words = (sys.executable, "-c", STUBBORN, str(path), who)
    thread = threading.Thread(target=lambda: outcomes.append(run(*words, stop=stop)))
    thread.start()
    both = pids(path, 2)
    asked = time.monotonic()
    stop.set()
    thread.join()
    assert time.monotonic() - asked < BUSY_SECONDS
    assert [(each.result, each.code) for each in outcomes] == [("stopped", -9)]
    wait_until(lambda: not any(map(is_alive, both)), "both to be gone", BUSY_SECONDS)


def test_a_grandchild_is_ended_although_its_parent_obeys(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    outcome = run("sh", "-c", f"sleep 600 & echo $! > {path}; wait", timeout=1.5)
    assert outcome.result == "timeout"
    (pid,) = pids(path, 1)
    wait_until(lambda: not is_alive(pid), "the grandchild to be gone", BUSY_SECONDS)


def test_what_a_successful_command_leaves_in_the_background_lives_on(tmp_path: Path) -> None:
    """It may be a consumer. It keeps the output open, which does not delay the result."""
    path = tmp_path / "pid"
    outcome = run("sh", "-c", f"echo started; sleep 600 & echo $! > {path}")
    (pid,) = pids(path, 1)
    try:
        assert (outcome.result, outcome.output) == ("success", "started")
        assert outcome.seconds < BUSY_SECONDS
        assert is_alive(pid)
    finally:
        psutil.Process(pid).kill()


def test_a_command_that_closes_its_output_runs_to_its_end() -> None:
    outcome = python("import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(4)")
    assert (outcome.result, outcome.code) == ("failure", 4)


# Output


def test_much_output_does_not_block_and_the_last_lines_are_kept() -> None:
    text = "for n in range(200_000): print('x' * 50, n)"
    before = psutil.Process().memory_info().rss
    outcome = python(text)
    assert outcome.result == "success"
    assert outcome.output.splitlines() == [f"{'x' * 50} {n}" for n in range(199_995, 200_000)]
    assert psutil.Process().memory_info().rss - before < 8 << 20


def test_one_endless_line_is_cut() -> None:
    outcome = python("import sys; sys.stdout.write('y' * 10_000_000 + 'end')")
    assert len(outcome.output) == command.SHOWN_CHARACTERS
    assert outcome.output.endswith("yend")


def test_secrets_in_the_output_are_masked() -> None:
    learn("hunter2-hunter2")
    outcome = run("sh", "-c", "echo login hunter2-hunter2; echo http://u:pa55word@host/; exit 1")
    assert outcome.output.splitlines() == ["login ***", "http://u:***@host/"]


def test_bytes_that_are_no_text_and_empty_lines_do_not_hide_the_rest() -> None:
    outcome = run("sh", "-c", r"printf 'a\377b\n\n   \nlast\n'")
    assert outcome.output.splitlines() == ["a\N{REPLACEMENT CHARACTER}b", "last"]
