"""Downloads versions of brokers into .cache, each completely or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.versions.catalogue import Version
from testbed.nsq import nsq_folder
from testbed.rabbitmq_runtime import SYSTEM, release_of
from testbed.tools import ROOT

CACHE = ROOT / ".cache" / "versions"
SCRIPTS = ROOT / "scripts"
NSQ = "github.com/nsqio/nsq"
DEBOOTSTRAP = "/usr/sbin/debootstrap"


class UnavailableError(Exception):
    """This version cannot be installed on this machine. The message says why."""


def kafka_jars(version: Version) -> Path:
    """Return the folder of Kafka's jars, from Maven Central."""

    def fetch(fresh: Path) -> None:
        _installed("mvn", "maven")
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums"]
        command += ["--file", str(SCRIPTS / "kafka" / "pom.xml"), "dependency:copy-dependencies"]
        command += [f"-Dkafka.version={version.origin}", "-DincludeScope=runtime"]
        _ran([*command, f"-DoutputDirectory={fresh / 'libs'}"])
        if not (fresh / "libs" / f"kafka_2.13-{version.origin}.jar").exists():
            raise UnavailableError("Maven succeeded but did not download the jar")

    return _kept(f"kafka-{version.origin}", fetch)


def rabbitmq_release(version: Version) -> str:
    """Return the Debian release with this RabbitMQ, or the word for the installed one."""
    release = release_of(version.release, version.origin)
    if release == SYSTEM:
        return release
    folder = ROOT / ".cache" / f"rabbitmq-{release}"
    if not (folder / "stamp").exists():
        if os.geteuid() != 0:
            raise UnavailableError("fetching it with debootstrap needs root")
        _installed(DEBOOTSTRAP, "debootstrap")
        folder.parent.mkdir(exist_ok=True)
        _ran([str(SCRIPTS / "rabbitmq-root"), release, str(folder)])
    found = [each.name for each in folder.glob("root/usr/lib/rabbitmq/lib/rabbitmq_server-*")]
    if not any(name.startswith(f"rabbitmq_server-{version.release}.") for name in found):
        raise UnavailableError(f"Debian {release} has {', '.join(found) or 'no RabbitMQ'} instead")
    return release


def nsq_programs(version: Version) -> Path:
    """Return the folder of nsqd and nsqlookupd."""
    if nsq_folder().name == f"nsq-{version.origin.removeprefix('v')}":
        return nsq_folder()

    def build(fresh: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            module = Path(folder, "nsq")
            shutil.copytree(SCRIPTS / "nsq", module)
            environment = {
                **os.environ,
                "CGO_ENABLED": "0",
                "GOWORK": "off",
                "GOTOOLCHAIN": "local",
            }
            environment["GOFLAGS"] = "-buildvcs=false"
            _ran(["go", "get", f"{NSQ}@{version.origin}"], module, environment)
            _ran(["go", "mod", "tidy"], module, environment)
            programs = [f"{NSQ}/apps/{name}" for name in ("nsqd", "nsqlookupd")]
            _ran(["go", "build", "-trimpath", "-o", f"{fresh}/", *programs], module, environment)

    return _kept(f"nsq-{version.origin}", build)


def _kept(name: str, fetch: Callable[[Path], None]) -> Path:
    """Return a folder of the cache. If it does not exist, `fetch` fills it."""
    folder = CACHE / name
    if not (folder / "stamp").exists():
        print(f"fetching {name}", flush=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=CACHE))
        try:
            fetch(fresh)
            (fresh / "stamp").write_text(f"{name}\n")
            shutil.rmtree(folder, ignore_errors=True)
            fresh.chmod(0o755)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _installed(program: str, package: str) -> None:
    if shutil.which(program) is None:
        _ran([str(SCRIPTS / "apt-install"), package])


def _ran(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command. If it fails, its last line of output is the reason of `UnavailableError`."""
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UnavailableError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines()]
        said = " ".join([line for line in lines if line][-2:]) or "nothing"
        name = Path(command[0]).name
        raise UnavailableError(f"{name}: {said.removeprefix(f'{name}: ')}")
