"""How Apache Kafka is run: its jars, the Java command, and cached files."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.tools import ROOT, cached_folder, find_tool

CLUSTER_ID = "bXEtbGFnLWV4cG9ydGVyLQ"

_FEATURES = ("share.version=1", "streams.version=1")
_LOGGING = {
    "defaultLogLevel": "warn",
    "log.org.apache.kafka": "info",
    "log.kafka": "info",
    "log.org.apache.kafka.common.config": "warn",  # or every broker writes its 250 settings down
    "log.kafka.server.KafkaConfig": "warn",
    "log.org.apache.kafka.common.utils.AppInfoParser": "warn",
    "showDateTime": "true",
    "dateTimeFormat": "HH:mm:ss.SSS",
}


def kafka_folder() -> Path:
    """The folder of the Kafka for tests, installed by scripts/install-test-tools."""
    pom = (ROOT / "scripts/kafka/pom.xml").read_text()
    version = re.search(r"<kafka\.version>([^<]+)<", pom)
    assert version, "scripts/kafka/pom.xml names no kafka.version"
    return cached_folder(f"kafka-{version[1]}")


def find_java() -> str:
    """The Java of JAVA_HOME, or else of PATH."""
    home = os.environ.get("JAVA_HOME")
    return find_tool(f"{home}/bin/java" if home else "java")


def broker_command(properties: Path, *jvm_options: str) -> list[str]:
    """The command of a broker, with little memory and the compiler that starts fast."""
    return [
        *_java_command("-Xms256m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", *jvm_options),
        "kafka.Kafka",
        str(properties),
    ]


def run_tool(tool: str, *arguments: str) -> str:
    """The output of one of Kafka's command line tools, given by its class; it must succeed."""
    command = [*_java_command("-Xmx128m"), tool, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{tool} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def use_archive(archive: Path) -> str:
    """The option to load classes from an archive; Java ignores an archive that does not fit."""
    return f"-XX:SharedArchiveFile={archive}"


def class_archive(record: Callable[[str], None]) -> Path:
    """The archive of loaded classes for this Java and Kafka. It halves brokers' start time.

    If it is missing, `record` is called with the Java option to run a broker with, which must end
    by SIGTERM.
    """
    java = Path(find_java()).resolve()
    about = f"{java} {java.stat().st_size} {java.stat().st_mtime_ns} {_java_command()}"
    archive = kafka_folder() / f"classes-{hashlib.sha256(about.encode()).hexdigest()[:12]}.jsa"

    def make(file: Path) -> None:
        record(f"-XX:ArchiveClassesAtExit={file}")

    return _kept(archive, make)


def format_storage(data: Path, node_id: int) -> None:
    """Does the same as `kafka.tools.StorageTool format`, without a Java process per broker."""
    data.mkdir(parents=True)
    (data / "meta.properties").write_text(
        f"version=1\ncluster.id={CLUSTER_ID}\nnode.id={node_id}\n"
    )
    records = _kept(kafka_folder() / f"bootstrap-{'-'.join(_FEATURES)}", _make_bootstrap_records)
    shutil.copy(records, data / "bootstrap.checkpoint")


def _make_bootstrap_records(file: Path) -> None:
    """The first records of a cluster's metadata: the feature levels of its Kafka version."""
    with tempfile.TemporaryDirectory() as folder:
        properties = Path(folder, "properties")
        properties.write_text(
            "process.roles=broker,controller\nnode.id=0\ncontroller.listener.names=CONTROLLER\n"
            "listeners=PLAINTEXT://127.0.0.1:20000,CONTROLLER://127.0.0.1:20001\n"
            f"controller.quorum.voters=0@127.0.0.1:20001\nlog.dirs={folder}/data\n"
        )
        features = [argument for feature in _FEATURES for argument in ("--feature", feature)]
        tool = [
            *_java_command(),
            "kafka.tools.StorageTool",
            "format",
            "-t",
            CLUSTER_ID,
            "-c",
            str(properties),
        ]
        done = subprocess.run([*tool, *features], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")
        shutil.copy(Path(folder, "data", "bootstrap.checkpoint"), file)


def _java_command(*options: str) -> list[str]:
    jars = sorted(str(jar) for jar in (kafka_folder() / "libs").glob("*.jar"))
    logging = [f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in _LOGGING.items()]
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    return [find_java(), *quick, *options, *logging, "-cp", ":".join(jars)]


def _kept(file: Path, make: Callable[[Path], None]) -> Path:
    """The file; created by `make` if missing. Of several test runs, one creates it."""
    if not file.exists():
        with _locked(file.with_name(f"{file.name}.lock")):
            if not file.exists():
                unfinished = file.with_name(f"{file.name}.new")
                make(unfinished)
                unfinished.rename(file)
    return file


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
