"""Runs each load with each way of scaling, and prints a table."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

from bench.scaling.drawing import Point, picture
from bench.scaling.ways import Cpu, Ours, Way, keda_kafka, keda_queue, lag_hpa
from bench.scaling.world import Setting, Tally, World
from exporter.scaling.policy import ScalingPolicy

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURES = ROOT / "docs/scaling.md", ROOT / "docs/scaling"
BEGIN, END = "<!-- table of make scaling -->", "<!-- end of the table -->"
STRIDE = 15.0
"""Seconds between two points of a picture."""
DRAWN = {"steps", "daily curve", "saturated database"}


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
    Setting("poison message", lambda _: 150.0, poison=lambda at: 1_200 <= at < 1_800),
    Setting("exporter restarted", steps, restart=1_000.0),
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


def ways_for(setting: Setting) -> dict[str, Callable[[Setting], Way]]:
    """Return the ways that are used for such a load: KEDA has a scaler for each system."""
    other = "KEDA queue" if setting.partitions else "KEDA kafka"
    return {name: make for name, make in WAYS.items() if name != other}


def run(setting: Setting, way: Way, points: list[Point] | None = None) -> Tally:
    """Return what one way cost with one load. `points` gets the course of the run."""
    world = World(setting)
    while world.now < setting.seconds:
        world.step()
        way.act(world)
        if world.now == 0.0:
            world.tally = Tally()  # the way has seen the consumers work before
        if points is not None and world.now >= 0 and world.now % STRIDE == 0:
            points.append(Point(world.now, world.wanted, world.age))
    world.end()
    return world.tally


def table() -> str:
    """Return the table of all loads and ways."""
    lines = [
        "| load | way | actions | reversals | late s | late messages | consumer-hours | paused s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting in SETTINGS:
        for name, make in ways_for(setting).items():
            tally = run(setting, make(setting))
            lines.append(
                f"| {setting.name} | {name} | {tally.actions} | {tally.reversals} | "
                f"{tally.late_seconds:.0f} | {tally.late_messages:,.0f} | "
                f"{tally.consumer_hours:.1f} | {tally.paused_seconds:.0f} |"
            )
    return "\n".join(lines)


def draw(folder: Path) -> None:
    """Write a picture of each load in `DRAWN`."""
    folder.mkdir(parents=True, exist_ok=True)
    for setting in SETTINGS:
        if setting.name not in DRAWN:
            continue
        courses: dict[str, list[Point]] = {}
        for name, make in ways_for(setting).items():
            run(setting, make(setting), courses.setdefault(name, []))
        file = folder / f"{setting.name.replace(' ', '-')}.svg"
        file.write_text(picture(setting.name, courses, setting.target_seconds))


def main() -> None:
    """Print the table; with --write, also put it into the docs, with pictures."""
    found = table()
    print(found)
    if "--write" in sys.argv[1:]:
        text = PAGE.read_text()
        head, _, rest = text.partition(BEGIN)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{BEGIN}\n{found}\n{END}{tail}")
        draw(PICTURES)


if __name__ == "__main__":
    main()
