"""Runs each load with each way of scaling, and prints a table."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from bench.scaling.ways import Cpu, Ours, Way, keda_kafka, keda_queue, lag_hpa
from bench.scaling.world import Setting, Tally, World
from exporter.scaling.policy import ScalingPolicy


def steps(at: float) -> float:
    return (60.0, 400.0, 180.0, 700.0)[int(at // 900) % 4]


def ramp(at: float) -> float:
    return 50 + 700 * min(at / 1_800, 1) if at < 2_700 else 50


def daily(at: float) -> float:
    return 350 + 300 * math.sin(2 * math.pi * at / 7_200)


def spikes(at: float) -> float:
    return 1_200.0 if at % 900 < 60 else 120.0


def stops(at: float) -> float:
    return 400.0 if at < 1_200 else 0.0


SETTINGS = (
    Setting("steps", steps),
    Setting("steps, eager assignor", steps, pause_seconds=15.0),
    Setting("steps, queue", steps, partitions=0, pause_seconds=0.0),
    Setting("ramp", ramp),
    Setting("daily curve", daily, seconds=7_200.0),
    Setting("spikes of a minute", spikes),
    Setting("producer stops", stops),
    Setting("hot partition", lambda _: 300.0, skew=1.0),
    Setting("saturated database", lambda _: 400.0, downstream=250.0),
    Setting("dead monitor", steps, blind=lambda at: 1_000 <= at < 1_600 or 2_000 <= at < 2_200),
)

WAYS: dict[str, Callable[[Setting], Way]] = {
    "mq_desired_consumers": lambda s: Ours(
        ScalingPolicy(maximum=s.maximum, drain_time=s.target_seconds)
    ),
    "HPA, lag / 1000": lambda s: lag_hpa(1, s.maximum),
    "KEDA kafka": lambda s: keda_kafka(1, s.maximum),
    "KEDA queue": lambda s: keda_queue(1, s.maximum),
    "HPA, CPU 80 %": lambda s: Cpu(1, s.maximum),
}


def run(setting: Setting, way: Way) -> Tally:
    """Return what one way cost with one load."""
    world = World(setting)
    while world.now < setting.seconds:
        world.step()
        way.act(world)
        if world.now == 0.0:
            world.tally = Tally()  # the way has seen the consumers work before
    return world.tally


def main() -> None:
    """Print the table."""
    only = sys.argv[1:]
    print(
        "| load | way | actions | reversals | late s | late messages | consumer-hours | paused s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        if only and setting.name not in only:
            continue
        for name, make in WAYS.items():
            if name == "KEDA queue" and setting.partitions:
                continue
            if name == "KEDA kafka" and not setting.partitions:
                continue
            tally = run(setting, make(setting))
            print(
                f"| {setting.name} | {name} | {tally.actions} | {tally.reversals} | "
                f"{tally.late_seconds:.0f} | {tally.late_messages:.0f} | "
                f"{tally.consumer_hours:.1f} | {tally.paused_seconds:.0f} |"
            )


if __name__ == "__main__":
    main()
