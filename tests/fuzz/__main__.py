"""`make fuzz`: runs the targets for longer than the unit tests do.

If a target fails, the input is made as small as possible and written to its corpus, so that the
unit tests fail too until the fault is fixed. Exits with 1 if a target failed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from dataclasses import replace

from tests.fuzz import requests
from tests.fuzz.target import CORPUS, Target
from tests.fuzz.targets import TARGETS

BATCH = 300
"""Number of inputs between two checks of the time."""


def main() -> int:
    """Run the chosen targets one after the other."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Fuzz the parsers.")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each target (default: 1)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all of them")
    options = parser.parse_args()
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(
            f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    return 1 if sum([not _run(target, options.minutes * 60) for target in chosen]) else 0


def _run(target: Target, seconds: float) -> bool:
    """Run one target; return whether it found no fault."""
    fed = _Fed(target)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            fed.target.run(BATCH)
        except Exception:  # noqa: BLE001 - whatever leaves a target is what is looked for
            name = f"found-{hashlib.sha256(fed.last).hexdigest()[:8]}"
            path = CORPUS / target.name / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(fed.last)
            _say(f"{target.name}: failed, see corpus/{target.name}/{name}")
            traceback.print_exc()
            return False
    _say(f"{target.name}: {fed.count} inputs, nothing found")
    return True


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Fed:
    """A target that keeps its last input: after a failure, the smallest one that fails."""

    def __init__(self, target: Target) -> None:
        self.count = 0
        self.last = b""
        self._feed = target.feed
        self.target = replace(target, feed=self._note)

    def _note(self, data: bytes) -> None:
        self.count += 1
        self.last = data
        self._feed(data)


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        requests.close()
