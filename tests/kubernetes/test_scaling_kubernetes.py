"""Real consumers, scaled by Kubernetes' own HPA controller and by KEDA, under a load that changes.

Three Deployments run side by side: one with a ScaledObject of the type `external-push`, one of the
type `external`, and one with an HPA on `mq_desired_consumers`. Their manifests are those of
`deploy/kubernetes`, with other names and addresses.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import pytest
import trustme
import yaml

from exporter.load.making import workload_of
from testbed.exporter import Exporter, nsq_source
from testbed.kubernetes.cluster import Cluster, parts
from testbed.kubernetes.external_metrics import PageAdapter
from testbed.kubernetes.kubelet import Containers
from testbed.kubernetes.manifests import deployment, manifest, unknown_keys
from testbed.kubernetes.store import Object
from testbed.nsq import NsqCluster
from testbed.ports import PortBlock
from testbed.waiting import wait_until
from testbed.workers import Work
from tests.integration.test_scaling import Feeder

EACH = 20.0
"""Messages a second of one consumer."""
HIGH, LOW = 70.0, 10.0
"""Messages a second that are produced: for four or more consumers, and for one."""
MOST_CHANGES = 3
"""Changes of the number of replicas after a step of the load."""
CALM_SECONDS = 20.0
"""It has settled if the number did not change for so long."""
HOLD_SECONDS = 45.0
"""How long the replicas have to stay while there is no advice."""
NAMESPACE, GROUP, SOURCE = "shop", "workers", "nsq"
MAXIMUM = 8
SCALING = {
    "maximum": MAXIMUM,
    "drain_time": "30s",
    "cooldown_out": "8s",
    "cooldown_in": "60s",
}
Way = Literal["push", "poll", "hpa"]
TRIGGERS: dict[Way, str] = {"push": "external-push", "poll": "external"}
WAYS: tuple[Way, ...] = ("push", "poll", "hpa")


class Trial:
    """One Deployment, its consumers and its load."""

    def __init__(self, way: Way, work: Work, cluster: Cluster, stack: ExitStack) -> None:
        self.way = way
        self.work = work
        self._cluster = cluster
        self._stack = stack
        self._feeder: Feeder | None = None

    def feed(self, rate: float) -> None:
        """Produce at this rate from now on; 0 stops."""
        if self._feeder is not None and rate:
            self._feeder.rate = rate
        elif self._feeder is not None:
            self._feeder.stop()
            self._feeder = None
        elif rate:
            self._feeder = self._stack.enter_context(Feeder(self.work, rate))

    @property
    def replicas(self) -> int:
        return self._changes()[-1][1]

    def has_settled(self) -> bool:
        return time.monotonic() - self._changes()[-1][0] >= CALM_SECONDS

    def carries(self, rate: float) -> bool:
        return self.replicas * EACH > rate

    def since(self, mark: float) -> list[tuple[float, int]]:
        """The replicas at a time, and the later changes in seconds after it."""
        found = [(max(at - mark, 0.0), count) for at, count in self._changes()]
        first = max((n for n, (after, _) in enumerate(found) if after == 0.0), default=0)
        return found[first:]

    def counts(self, mark: float) -> list[int]:
        return [count for _, count in self.since(mark)]

    def conditions(self) -> dict[str, str]:
        """The conditions of the ScaledObject and of the HPA."""
        if self.way == "hpa":
            return self._cluster.hpa_conditions(NAMESPACE, self.way)
        of_hpa = self._cluster.hpa_conditions(NAMESPACE, f"keda-hpa-{self.way}")
        return of_hpa | self._cluster.keda_conditions(NAMESPACE, self.way)

    def _changes(self) -> list[tuple[float, int]]:
        return self._cluster.replicas(NAMESPACE, self.way)


class Stage(NamedTuple):
    """Everything that runs."""

    exporter: Exporter
    nsq: NsqCluster
    trials: list[Trial]

    def wait(self, condition: Callable[[Trial], bool], what: str, seconds: float) -> None:
        """Wait until the condition holds for all Deployments."""
        try:
            wait_until(lambda: all(map(condition, self.trials)), what, seconds, 0.25)
        except TimeoutError:
            for trial in self.trials:
                say(trial.way, trial.since(0.0), trial.conditions())
            say(*self.column("scaling"))
            raise

    def column(self, key: str) -> list[Any]:
        """A value of the exporter's JSON for each subscription."""
        rows = self.exporter.get("/api/v1/subscriptions").json()["subscriptions"]
        return [row[key] for row in rows]

    def tell(self, phase: str, mark: float) -> None:
        """Print what happened since a time."""
        for trial in self.trials:
            steps = ", ".join(f"{after:.1f} s: {count}" for after, count in trial.since(mark))
            say(f"{phase:12} {trial.way:4} {steps}")


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - pytest shows it


@contextmanager
def staged(folder: Path, nsq: NsqCluster, *, quick: bool, tls: bool = False) -> Iterator[Stage]:
    """Start everything, under high load.

    `quick` shortens the times of the manifests that would let the test wait for five minutes, and
    lets `push` scale to zero. With `tls`, KEDA and the exporter need each other's certificates.
    """
    run = f"kubernetes-{uuid4().hex[:8]}"
    works = {way: Work("nsq", nsq.http_url(), f"{run}-{way}", GROUP, EACH, {}) for way in WAYS}
    for work in works.values():
        workload_of(*work[:4]).prepare(1)
    chosen: dict[str, Any] = {
        "schedule": dict.fromkeys(("backlog", "latency", "rates"), "1s") | {"consumers": "2s"},
        "probe": {"enabled": False},
        "rate_window": "20s",
    }
    sources = [nsq_source(nsq, SOURCE, **chosen)]
    ports = PortBlock()
    listen = f"127.0.0.1:{ports.take()}"
    exporter = Exporter(folder, sources)
    zero = [{"match": {"destination": ".*-push"}, "minimum": 0, **SCALING}] if quick else []
    exporter.write(
        sources,
        scaling=[*zero, SCALING],
        scaling_state="state.json",
        thresholds=[{"lag_messages": 100}],
        keda={"listen": listen, **({"tls": certificates(folder)} if tls else {})},
    )
    with ExitStack() as stack:
        stack.callback(ports.release)
        stack.enter_context(exporter)
        metrics = {PageAdapter.METRIC: PageAdapter(exporter.scrape)}
        cluster = Cluster(folder, metrics, hpa_interval="5s")
        trials = [Trial(way, work, cluster, stack) for way, work in works.items()]
        # Messages come first: a ScaledObject without any would begin with zero replicas.
        feed(trials, HIGH)
        stack.enter_context(cluster)
        if tls:
            cluster.apply(*login(folder))
        for trial in trials:
            file = folder / trial.way
            stack.enter_context(Containers(trial.work, file))
            cluster.kubelet.files[trial.way] = file
            scaling = scaler(trial, listen, quick=quick, tls=tls)
            cluster.apply(deployment(trial.way, NAMESPACE, 1), scaling)
        yield Stage(exporter, nsq, trials)


def certificates(folder: Path) -> dict[str, str]:
    """Write certificates of both sides, and return the exporter's settings."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "keda-ca.crt"))
    for name, host in (("exporter", "127.0.0.1"), ("keda", "keda-operator")):
        pair = authority.issue_cert(host)
        pair.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
        pair.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    return {
        "cert_file": str(folder / "exporter.crt"),
        "key_file": str(folder / "exporter.key"),
        "client_ca_file": str(folder / "keda-ca.crt"),
    }


def login(folder: Path) -> list[Object]:
    """Return the Secret and the TriggerAuthentication of docs/keda.md."""
    page = (Path(__file__).parents[2] / "docs/keda.md").read_text()
    [text] = re.findall(r"```yaml\n(apiVersion: v1\nkind: Secret.*?)```", page, re.DOTALL)
    secret, authentication = yaml.safe_load_all(text)
    files = {"ca.crt": "keda-ca.crt", "tls.crt": "keda.crt", "tls.key": "keda.key"}
    assert secret.pop("stringData").keys() == files.keys()
    secret["data"] = {
        key: b64encode((folder / name).read_bytes()).decode() for key, name in files.items()
    }
    return [secret, authentication]


def scaler(trial: Trial, listen: str, *, quick: bool, tls: bool) -> Object:
    """The manifest of `deploy/kubernetes` for a Deployment."""
    names = {"source": SOURCE, "destination": trial.work.destination, "group": GROUP}
    found = manifest("hpa" if trial.way == "hpa" else "scaledobject")
    found["metadata"] = {"name": trial.way, "namespace": NAMESPACE}
    spec = found["spec"]
    spec["scaleTargetRef"]["name"] = trial.way
    if trial.way == "hpa":
        spec["metrics"][0]["external"]["metric"]["selector"]["matchLabels"] = names
        behavior = spec["behavior"]
    else:
        [trigger] = spec["triggers"]
        trigger["type"] = TRIGGERS[trial.way]
        trigger["metadata"] = {"scalerAddress": listen, **names}
        if tls:
            trigger["authenticationRef"] = {"name": "mq-lag-exporter"}
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        if quick:
            spec["cooldownPeriod"] = 20
            spec["minReplicaCount"] = 0 if trial.way == "push" else 1
    if quick:
        behavior["scaleDown"]["stabilizationWindowSeconds"] = 0
    return found


@pytest.fixture
def single_nsq() -> Iterator[NsqCluster]:
    with NsqCluster() as cluster:
        yield cluster


def test_kedas_crd_has_every_key_of_the_manifest() -> None:
    assert unknown_keys(manifest("scaledobject"), parts() / "crds") == []


@pytest.mark.timeout(1800)
def test_replicas_follow_the_load_up_and_down_and_to_zero_and_back(
    single_nsq: NsqCluster, tmp_path: Path
) -> None:
    mark = time.monotonic()
    with staged(tmp_path, single_nsq, quick=True, tls=True) as stage:
        push = stage.trials[0]
        stage.wait(lambda t: t.carries(HIGH) and t.has_settled(), "enough replicas", 300)
        stage.tell("up", mark)
        up = {trial.way: trial.counts(mark) for trial in stage.trials}
        wait_until(lambda: max(stage.column("lag_messages")) < 200, "the backlog to be gone", 120)

        mark = feed(stage.trials, LOW)
        stage.wait(lambda t: t.replicas <= 2 and t.has_settled(), "few replicas", 300)
        stage.tell("down", mark)
        down = {trial.way: trial.counts(mark) for trial in stage.trials}

        mark = feed([push], 0)
        wait_until(lambda: push.replicas == 0, "no replicas", 300, 0.25)
        stage.tell("to zero", mark)
        zero = push.counts(mark)
        time.sleep(CALM_SECONDS)
        assert push.replicas == 0

        mark = feed([push], HIGH)
        wait_until(lambda: push.carries(HIGH) and push.has_settled(), "replicas", 300, 0.25)
        stage.tell("from zero", mark)
        woken = push.since(mark)

    for counts in (*up.values(), [count for _, count in woken]):
        assert len(counts) - 1 <= MOST_CHANGES, (up, woken)
        assert all(old < new for old, new in pairwise(counts)), (up, woken)
    for counts in (*down.values(), zero):
        assert len(counts) - 1 <= MOST_CHANGES, (down, zero)
        assert all(old > new for old, new in pairwise(counts)), (down, zero)
    assert woken[1][0] < 8, "the stream wakes it sooner than the poll each 15 s"


@pytest.mark.timeout(1800)
def test_replicas_hold_without_advice(single_nsq: NsqCluster, tmp_path: Path) -> None:
    with staged(tmp_path, single_nsq, quick=False) as stage:
        stop_the_broker_and_start_it_again(stage)
        stage.wait(lambda t: t.carries(HIGH) and t.has_settled(), "enough replicas again", 300)

        mark = time.monotonic()
        assert stage.exporter.child is not None
        stage.exporter.child.kill()
        stage.wait(is_blind, "no answer of the exporter", 120)
        time.sleep(HOLD_SECONDS)
        stage.tell("killed", mark)
        say({trial.way: trial.conditions() for trial in stage.trials})
        killed = {trial.way: trial.counts(mark) for trial in stage.trials}

        mark = time.monotonic()
        stage.exporter.start()
        stage.wait(lambda t: not is_blind(t), "advice again", 120)
        time.sleep(HOLD_SECONDS)
        stage.tell("restarted", mark)
        restarted = {trial.way: trial.counts(mark) for trial in stage.trials}

    assert all(len(counts) == 1 for counts in killed.values()), killed
    assert all(min(counts) * EACH > HIGH for counts in restarted.values()), restarted


@pytest.mark.timeout(1800)
def test_replicas_hold_without_a_stabilization_window(
    single_nsq: NsqCluster, tmp_path: Path
) -> None:
    with staged(tmp_path, single_nsq, quick=True) as stage:
        stop_the_broker_and_start_it_again(stage)


def stop_the_broker_and_start_it_again(stage: Stage) -> None:
    """Check that no replicas are removed while the exporter is blind, and afterwards."""
    mark = time.monotonic()
    stage.wait(lambda t: t.carries(HIGH) and t.has_settled(), "enough replicas", 300)
    stage.tell("up", mark)

    mark = feed(stage.trials, 0)
    for process in (*stage.nsq.nsqds, *stage.nsq.lookupds):
        stage.nsq.terminate(process)
    stage.wait(is_blind, "blind", 120)
    time.sleep(HOLD_SECONDS)
    stage.tell("no broker", mark)
    blind = {trial.way: trial.counts(mark) for trial in stage.trials}
    conditions = {trial.way: trial.conditions() for trial in stage.trials}
    say(conditions)

    mark = time.monotonic()
    stage.nsq.restart_all()
    stage.nsq.wait_registered()
    feed(stage.trials, HIGH)
    stage.wait(lambda t: not is_blind(t), "advice again", 120)
    time.sleep(HOLD_SECONDS)
    stage.tell("broker back", mark)
    back = {trial.way: trial.counts(mark) for trial in stage.trials}

    # KEDA gets an error from a scaler that answers, so it uses `fallback`.
    assert all(conditions[way]["Fallback"] == "True" for way in TRIGGERS), conditions
    assert all(len(counts) == 1 for counts in blind.values()), blind
    assert all(min(counts) * EACH > HIGH for counts in back.values()), back


def is_blind(trial: Trial) -> bool:
    """Whether the HPA gets no number, or one that KEDA made up by `fallback`."""
    found = trial.conditions()
    return found.get("ScalingActive") == "False" or found.get("Fallback") == "True"


def feed(trials: list[Trial], rate: float) -> float:
    """Change the load, and return the time."""
    for trial in trials:
        trial.feed(rate)
    return time.monotonic()
