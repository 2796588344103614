"""The controller of `scale`: which subscription, what is asked, what is run and logged."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from exporter.scale.advice import Missing, Poll, ValidAdvice
from exporter.scale.client import (
    AddressError,
    Client,
    ExporterAddress,
    UnreachableError,
    address_of,
)
from exporter.scale.command import CommandOutcome
from exporter.scale.controller import UNREACHABLE_MOST, Controller, ControllerSettings
from exporter.scale.metrics import ScaleMetrics
from exporter.scale.running import local_url
from exporter.scale.selection import FollowedSubscription, Selection, SelectionError
from exporter.scale.template import template_of
from exporter.scaling.board import SubscriptionName
from tests.support.advice_server import AdviceServer, advice, row

ROOT = Path(__file__).parents[2]
PLACE = SubscriptionName("shop", None, "orders", "billing")
SUCCESS = CommandOutcome("success", 0, 0.1, "")
FAILURE = CommandOutcome("failure", 7, 0.1, "last words")


@pytest.fixture
def server() -> Iterator[AdviceServer]:
    with AdviceServer(row(advice(4, 3))) as server:
        yield server


def client(server: AdviceServer, timeout: float = 20.0, **login: Any) -> Client:
    return Client(address_of(server.url, **login), threading.Event(), timeout)


def subscription(server: AdviceServer, **names: str) -> FollowedSubscription:
    return FollowedSubscription(client(server), Selection(**names))


# The subscription


def test_one_subscription_is_found_by_some_of_its_names(server: AdviceServer) -> None:
    server.rows.append(row(advice(9), "audit"))
    found = subscription(server, group="billing")
    poll = found.poll()
    assert isinstance(poll, ValidAdvice)
    assert (found.place, poll.desired) == (PLACE, 4)


def test_an_empty_name_selects_those_without_one(server: AdviceServer) -> None:
    server.rows.append(row(advice(2), None, vhost="/"))
    found = subscription(server, group="")
    found.poll()
    assert found.place == SubscriptionName("shop", "/", "orders", None)


def test_several_are_an_error_that_lists_them(server: AdviceServer) -> None:
    server.rows += [row(advice(1), f"g{n}") for n in range(9)]
    with pytest.raises(SelectionError) as caught:
        subscription(server, source="shop").poll()
    lines = str(caught.value).splitlines()
    assert lines[0] == "10 subscriptions match; name one of them:"
    assert lines[1] == "  source 'shop', destination 'orders', group 'billing'"
    assert lines[-1] == "  and 5 more"


def unknown(server: AdviceServer, group: str) -> list[str]:
    with pytest.raises(SelectionError) as caught:
        subscription(server, group=group).poll()
    return str(caught.value).splitlines()


def test_none_is_an_error_with_similar_names(server: AdviceServer) -> None:
    server.rows += [row(advice(1), "audit"), row(advice(1), "invoice")]
    assert unknown(server, "biling") == [
        "no subscription has group 'biling'; the most similar are:",
        "  source 'shop', destination 'orders', group 'billing'",
    ]
    first, *all_three = unknown(server, "x")
    assert first == "no subscription has group 'x'; the exporter shows:"
    assert len(all_three) == 3
    server.rows += [row(advice(1), f"audit-{number}") for number in range(3)]
    (only,) = unknown(server, "x")
    assert only.endswith("; none of the 6 that the exporter shows has a similar name")


def test_an_exporter_without_subscriptions_says_so(server: AdviceServer) -> None:
    server.rows = []
    with pytest.raises(SelectionError, match="the exporter shows no subscription"):
        subscription(server).poll()


def test_a_source_that_was_not_read_yet_is_waited_for(server: AdviceServer) -> None:
    kept, server.rows = server.rows, []
    server.sources = [{"source": "shop", "up": False, "message": "refused"}]
    found = subscription(server, source="shop")
    poll = found.poll()
    assert isinstance(poll, Missing)
    assert poll.reason == "no such subscription yet; source 'shop': refused"
    server.rows = kept
    assert isinstance(found.poll(), ValidAdvice)


def test_a_source_that_does_not_exist_is_not_waited_for(server: AdviceServer) -> None:
    server.sources = [{"source": "shop", "up": False, "message": "refused"}]
    with pytest.raises(SelectionError):
        subscription(server, source="shp").poll()


def test_a_found_subscription_is_kept_whatever_comes_and_goes(server: AdviceServer) -> None:
    found = subscription(server, destination="orders")
    found.poll()
    server.rows.insert(0, row(advice(9), "newcomer"))
    poll = found.poll()
    assert isinstance(poll, ValidAdvice)
    assert poll.desired == 4
    server.rows = server.rows[:1]
    assert found.poll() == Missing("blind", "the exporter does not show the subscription any more")


# The exporter


def test_a_login_is_sent_and_a_changed_password_is_used(
    server: AdviceServer, tmp_path: Path
) -> None:
    server.login = "scaler:first-word"
    file = tmp_path / "password"
    file.write_text("first-word\n")
    asking = client(server, user="scaler", password_file=file)
    assert asking.overview({})["subscriptions"]
    server.login = "scaler:second-word"
    with pytest.raises(UnreachableError, match=r"HTTP status 401 .*--password-file"):
        asking.overview({})
    file.write_text("second-word\n")
    assert asking.overview({})["subscriptions"]
    file.unlink()
    with pytest.raises(UnreachableError, match="--password-file: can't be read"):
        asking.overview({})


def test_no_proxy_gets_the_password(server: AdviceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with AdviceServer() as proxy:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert isinstance(subscription(server, group="billing").poll(), ValidAdvice)
        assert proxy.asked == 0


def test_a_login_in_the_url_is_sent_and_not_shown(server: AdviceServer) -> None:
    server.login = "scaler:p@ss word"
    address = address_of(server.url.replace("//", "//scaler:p%40ss%20word@"))
    assert address.url == server.url
    assert Client(address, threading.Event()).overview({})["subscriptions"]


@pytest.mark.parametrize(
    ("url", "options", "complaint"),
    [
        ("ftp://host", {}, "expected an address such as"),
        ("http://", {}, "expected an address such as"),
        ("", {}, "expected an address such as"),
        ("http://host:port", {}, "--url: Port could not be cast"),
        ("http://[::1", {}, "--url: Invalid IPv6 URL"),
        ("http://host", {"user": "me"}, "--user and --password-file need each other"),
        ("http://host", {"password_file": Path("x")}, "--user and --password-file need each other"),
        ("http://a:b@host", {"user": "me", "password_file": Path("x")}, "login is given twice"),
        ("http://host", {"ca_file": Path("x")}, "--ca-file needs an address with https://"),
        ("https://host", {"ca_file": Path("/none")}, "--ca-file: /none: cannot be used"),
        ("http://host", {"user": "me", "password_file": Path("/none")}, "/none: --password-file"),
    ],
)
def test_a_wrong_address_is_refused(url: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AddressError) as caught:
        address_of(url, **options)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"[]", b"{}", b'{"sources": [], "subscriptions": [1]}', b"[" * 99_999]
)
def test_another_server_is_no_exporter(server: AdviceServer, body: bytes) -> None:
    server.body = body
    with pytest.raises(UnreachableError, match="not that of an mq-lag-exporter"):
        client(server).overview({})


def test_rows_without_names_are_no_answer(server: AdviceServer) -> None:
    server.body = b'{"sources": [], "subscriptions": [{"source": 1}]}'
    assert isinstance(subscription(server).poll(), Missing)


def test_a_closed_port_and_a_server_error_are_no_answer(server: AdviceServer) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    asking = Client(ExporterAddress(f"http://127.0.0.1:{port}"), threading.Event())
    with pytest.raises(UnreachableError, match="refused"):
        asking.overview({})
    server.body, server.status = b"", 500
    with pytest.raises(UnreachableError, match="HTTP status 500"):
        client(server).overview({})


def test_a_hanging_exporter_is_given_up_and_not_asked_twice_at_once(server: AdviceServer) -> None:
    server.hang.clear()
    asking = client(server, timeout=0.3)
    with pytest.raises(UnreachableError, match=r"within|timed out"):
        asking.overview({})
    server.hang.set()


def test_the_end_does_not_wait_for_an_answer(server: AdviceServer) -> None:
    server.hang.clear()
    stop = threading.Event()
    asking = Client(address_of(server.url), stop, timeout=25.0)
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        asking.overview({})
    assert time.monotonic() - began < 15


def test_tls_is_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with AdviceServer(row(advice(4, 3)), tls=tls) as server:
        assert client(server, ca_file=tmp_path / "ca.pem").overview({})["subscriptions"]
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            client(server).overview({})


def test_an_address_without_a_scheme_is_http() -> None:
    assert address_of("host:9877/") == ExporterAddress("http://host:9877")


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:9877", "http://127.0.0.1:9877"),
        (":9000", "http://127.0.0.1:9000"),
        ("[::]:9877", "http://127.0.0.1:9877"),
        ("[::1]:9877", "http://[::1]:9877"),
        ("10.0.0.5:80", "http://10.0.0.5:80"),
    ],
)
def test_a_config_gives_the_address_of_its_daemon(listen: str, url: str) -> None:
    assert local_url(listen) == url


# The loop


class Scene:
    """A controller with made-up polls, commands and time."""

    def __init__(self, *outcomes: CommandOutcome, **settings: Any) -> None:
        self.place: SubscriptionName | None = PLACE
        self.next: Poll = Missing("unreachable", "nobody")
        self.outcomes = list(outcomes)
        self.commands: list[list[str]] = []
        self.environ: Mapping[str, str] = {}
        self.now = 100.0
        self.stop = threading.Event()
        template = template_of("run {consumers} {before} {group}")
        self.controller = Controller(
            self,
            ControllerSettings(template, **settings),
            self.stop,
            run_command=self._run,
            clock=lambda: self.now,
        )

    def poll(self) -> Poll:
        return self.next

    def _run(
        self, words: list[str], environ: Mapping[str, str], timeout: float, stop: threading.Event
    ) -> CommandOutcome:
        self.commands.append(words)
        self.environ = environ
        return self.outcomes.pop(0) if self.outcomes else SUCCESS

    def step(self, poll: Poll, after: float = 15.0) -> list[tuple[str, str]]:
        """The events of one poll, each with its reason."""
        self.now += after
        self.next = poll
        with capture_logs() as logs:
            self.controller.step()
        return [(each["event"], each.get("reason", "")) for each in logs]


def told(desired: int, present: int | None = None, held: str | None = None) -> ValidAdvice:
    return ValidAdvice(desired, present, held, f"because of {desired}")


def test_a_change_is_applied_and_logged_once_with_its_reason() -> None:
    scene = Scene(environ={"PATH": "/bin"})
    assert scene.step(told(3, 3)) == [("scale.adopted", "because of 3")]
    assert scene.step(told(3, 3)) == []
    assert scene.step(told(4, 3)) == [("scale.applied", "because of 4")]
    assert scene.step(told(4, 3)) == []
    assert scene.commands == [["run", "4", "3", "billing"]]
    assert scene.environ["MQ_CONSUMERS"] == "4"
    assert scene.environ["PATH"] == "/bin"


def test_a_failure_is_logged_with_its_output_and_tried_again() -> None:
    scene = Scene(FAILURE, SUCCESS)
    scene.next = told(4, 3)
    with capture_logs() as logs:
        scene.controller.step()
    (entry,) = logs
    assert entry["log_level"] == "warning"
    assert {name: entry.get(name) for name in SubscriptionName._fields} == PLACE._asdict()
    assert {key: entry[key] for key in ("event", "code", "output", "retry_seconds")} == {
        "event": "scale.failed",
        "code": 7,
        "output": "last words",
        "retry_seconds": 15.0,
    }
    assert entry["command"] == "run 4 3 billing"
    assert scene.controller.pause() == 15.0
    assert scene.step(told(4, 3), after=10) == []
    assert scene.controller.pause() == 5.0
    assert scene.step(told(4, 3), after=5) == [("scale.applied", "because of 4")]
    assert scene.controller.pause() == 15.0


def test_missing_advice_is_logged_once_and_when_it_is_back() -> None:
    scene = Scene(initial=3)
    assert scene.step(Missing("unreachable", "refused")) == [("scale.unreachable", "refused")]
    assert scene.step(Missing("unreachable", "refused")) == []
    assert scene.step(Missing("blind", "no data for 30 s")) == [("scale.blind", "no data for 30 s")]
    assert scene.step(Missing("blind", "no data for 45 s")) == []
    assert scene.step(Missing("unreachable", "refused")) == []
    assert scene.step(told(3, 3)) == [("scale.sees_again", "because of 3")]
    assert scene.step(Missing("unreachable", "refused")) == [("scale.unreachable", "refused")]
    assert scene.commands == []


def test_polls_get_rarer_while_the_exporter_is_unreachable() -> None:
    scene, pauses = Scene(), []
    for _ in range(5):
        scene.step(Missing("unreachable", "refused"))
        pauses.append(scene.controller.pause())
    assert pauses == [15, 30, 60, 60, 60]
    assert max(pauses) == UNREACHABLE_MOST
    scene.step(Missing("blind", "no data"))
    assert scene.controller.pause() == 15.0
    rare = Scene(every=120.0)
    rare.step(Missing("unreachable", "refused"))
    assert rare.controller.pause() == 120.0


def test_held_advice_is_logged_when_it_begins_changes_and_ends() -> None:
    scene = Scene(initial=3)
    assert scene.step(told(3, 3, "learning")) == [("scale.held", "because of 3")]
    assert scene.step(told(2, 2, "learning")) == []
    assert scene.step(told(3, 3, "saturated")) == [("scale.held", "because of 3")]
    assert scene.step(told(3, 3)) == [("scale.released", "because of 3")]
    assert scene.commands == []


def test_a_number_changed_by_hand_is_logged_once_and_set_with_enforce() -> None:
    scene = Scene(initial=3)
    events = [event for _ in range(60) for event, _ in scene.step(told(3, 2))]
    assert events == ["scale.differs"]
    assert [event for event, _ in scene.step(told(3, 3))] == ["scale.agrees"]
    assert scene.commands == []
    scene = Scene(initial=3, enforce=True)
    events = [event for _ in range(60) for event, _ in scene.step(told(3, 2))]
    assert events == ["scale.applied"]
    assert scene.commands == [["run", "3", "2", "billing"]]


def test_a_dry_run_logs_each_command_once_and_runs_none() -> None:
    scene = Scene(dry_run=True)
    assert scene.step(told(4, 3)) == [("scale.would_run", "because of 4")]
    assert [scene.step(told(4, 3)) for _ in range(99)] == [[]] * 99
    assert scene.step(told(5, 3)) == [("scale.would_run", "because of 5")]
    assert scene.commands == []


def test_an_interrupted_command_is_no_failure() -> None:
    scene = Scene(CommandOutcome("stopped", -15, 1.0, ""))
    assert [event for event, _ in scene.step(told(4, 3))] == ["scale.interrupted"]
    assert scene.controller.state.failures == 0


def test_the_loop_polls_and_ends_when_it_is_stopped() -> None:
    scene = Scene(every=0.01)
    scene.controller._clock = time.monotonic
    polled = threading.Semaphore(0)

    def poll() -> Poll:
        polled.release()
        return told(3, 3)

    scene.poll = poll  # type: ignore[method-assign]
    thread = threading.Thread(target=scene.controller.follow)
    thread.start()
    for _ in range(3):
        assert polled.acquire(timeout=20)
    assert scene.controller.pulse.fault(time.monotonic()) is None
    scene.stop.set()
    thread.join(20)
    assert not thread.is_alive()


# The metrics


def exposed(metrics: ScaleMetrics) -> dict[tuple[str, str], float]:
    """The samples by name and, for commands, by result."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, sample.labels.get("result", "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_are_absent_until_they_are_known_and_follow_the_controller() -> None:
    scene = Scene(FAILURE, SUCCESS)
    metrics = scene.controller.metrics
    names = {name for name, _ in exposed(metrics)}
    assert "mq_scale_desired_consumers" not in names
    assert "mq_scale_applied_consumers" not in names
    scene.step(told(4, 3))
    found = exposed(metrics)
    assert found["mq_scale_commands_total", "failure"] == 1
    assert found["mq_scale_desired_consumers", ""] == 4
    assert found["mq_scale_present_consumers", ""] == 3
    assert found["mq_scale_advice_valid", ""] == 1
    assert ("mq_scale_applied_consumers", "") not in found
    assert ("mq_scale_last_success_timestamp_seconds", "") not in found
    scene.step(told(4, None))
    scene.step(Missing("blind", "no data"))
    found = exposed(metrics)
    assert found["mq_scale_commands_total", "success"] == 1
    assert found["mq_scale_applied_consumers", ""] == 4
    assert found["mq_scale_advice_valid", ""] == 0
    assert found["mq_scale_last_success_timestamp_seconds", ""] > 1e9
    assert ("mq_scale_present_consumers", "") not in found


def test_the_document_has_a_line_for_each_metric_and_variable() -> None:
    scene = Scene()
    scene.step(told(4, 3))
    text = (ROOT / "docs" / "scale.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    names = {name for line in lines for name in re.findall(r"`(mq_\w+|MQ_\w+)", line)}
    exposed_names = {
        name for name, _ in exposed(scene.controller.metrics) if not name.endswith("_created")
    }
    assert {name for name in names if name.startswith("mq_")} == exposed_names
    assert {name for name in names if name.startswith("MQ_")} == set(scene.environ)
