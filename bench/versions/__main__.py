"""`python -m bench.versions`: tests all broker versions, one after the other, under load.

Compares the exporter's numbers with what producers and consumers wrote down. Writes the tables in
docs/compatibility.md. Exits with 1 if a cell is worse than in the last commit, and names it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.versions import fetching, sites
from bench.versions.catalogue import VERSIONS, Version, chosen
from bench.versions.judging import Verdict, judge
from bench.versions.running import run
from bench.versions.sites import Site
from bench.versions.table import Row, read, unmeasured, worse, write
from exporter import __version__
from testbed.tools import ROOT

DOCUMENT = ROOT / "docs" / "compatibility.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make versions", description=__doc__)
    parser.add_argument(
        "name",
        nargs="*",
        help="a system, or one of "
        f"{', '.join(version.name for version in VERSIONS)} (default: all)",
    )
    options = parser.parse_args()
    try:
        versions = chosen(options.name)
    except ValueError as error:
        parser.error(str(error))
    today = datetime.now(UTC).date().isoformat()
    before = read(_in_repository())
    document = DOCUMENT.read_text()
    rows = read(document)
    for version in versions:
        began = time.monotonic()
        fresh = {row.key: row for row in _rows(version, today)}
        rows = {key: row for key, row in rows.items() if key[0] != version.name} | fresh
        document = write(document, rows.values(), today, __version__)
        DOCUMENT.write_text(document)
        print(f"{version.name}: {time.monotonic() - began:.0f} s", flush=True)
        _show(fresh.values())
    names = {version.name for version in versions}
    found = worse(before, (row for row in rows.values() if row.name in names))
    print("\n".join(["worse than in the last commit:", *found] if found else ["no cell got worse"]))
    return int(bool(found))


def _in_repository() -> str:
    """Return the document of the last commit; if git fails, the present one."""
    command = ["git", "show", f"HEAD:{DOCUMENT.relative_to(ROOT)}"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return DOCUMENT.read_text()
    return done.stdout if done.returncode == 0 else DOCUMENT.read_text()


def _rows(version: Version, today: str) -> Iterator[Row]:
    """Fetch and run one version; yield its rows."""
    for kind, reason in version.unsupported.items():
        yield unmeasured(version, kind, Verdict.UNSUPPORTED, reason, today)
    exact = ""
    try:
        with ExitStack() as stack:
            site = _start(version, stack)
            exact = site.version
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            seen = run(site, Path(folder))
    except fetching.UnavailableError as error:
        for kind in version.kinds:
            yield unmeasured(version, kind, Verdict.MISSING, str(error), today)
        return
    except Exception as error:  # noqa: BLE001 - the other versions must still be tested
        traceback.print_exc()
        reason = f"the run failed with {type(error).__name__}: {str(error).partition(';')[0][:200]}"
        for kind in version.kinds:
            yield unmeasured(version, kind, Verdict.WRONG, reason, today, exact)
        return
    for watched in seen:
        yield Row(version.name, watched.kind, exact, judge(watched), today)


def _start(version: Version, stack: ExitStack) -> Site:
    if version.system == "kafka":
        return sites.kafka_site(stack, fetching.kafka_jars(version), version)
    if version.system == "rabbitmq":
        return sites.rabbit_site(stack, fetching.rabbitmq_release(version), version)
    return sites.nsq_site(stack, fetching.nsq_programs(version))


def _show(rows: Iterable[Row]) -> None:
    for row in rows:
        for name, cell in row.cells.items():
            print(f"  {row.kind:<9} {name:<10} {cell.verdict.value} {cell.detail}".rstrip())
        if row.reason:
            print(f"  {row.kind:<9} {row.reason}")


if __name__ == "__main__":
    sys.exit(main())
