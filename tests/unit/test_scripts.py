"""The scripts that make runs: what they print, and what they install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.tools import ROOT

FAKE_PIP = """#!/bin/sh
echo "Collecting rich==14.0.0 (from -r requirements.lock (line 9))"
echo "  Downloading rich-14.0.0.whl (1 kB)"
echo "Collecting bcrypt==5.0.0 (from -r requirements.lock (line 1))"
echo "Installing collected packages: rich, bcrypt"
echo "$@" > "$(dirname "$0")/arguments"
exit ${PIP_CODE:-0}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the scripts, and a pip that only prints."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "requirements.lock").write_text("bcrypt==5.0.0 \\\n    --hash=x\nrich==14.0.0\n")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(FAKE_PIP)
    python.chmod(0o755)
    return tmp_path


def run(project: Path, *line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "scripts" / line[0], *line[1:]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_an_installation_prints_a_line_for_each_package(project: Path) -> None:
    done = run(project, "install-packages", "requirements.lock")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "installing at most 2 packages of requirements.lock into .venv",
        "  rich==14.0.0",
        "  bcrypt==5.0.0",
        "  downloaded; unpacking",
    ]
    arguments = (project / ".venv/bin/arguments").read_text()
    assert "--no-deps --require-hashes" in arguments


def test_an_installation_that_failed_prints_all_that_pip_said(project: Path) -> None:
    done = run(project, "install-packages", "requirements.lock", PIP_CODE="1")
    assert done.returncode == 1
    assert "Downloading rich-14.0.0.whl" in done.stderr


FAKE_PYTHON = """#!/bin/sh
case "$1" in
  --version) echo "Python 3.12.1" ;;
  -m) [ "$2" = venv ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
exit 0
"""


def test_a_new_environment_is_announced_and_one_that_works_is_kept(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    python = project / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    first, second = (run(project, "create-venv", str(python)) for _ in range(2))
    assert (first.returncode, first.stderr) == (second.returncode, second.stderr) == (0, "")
    assert first.stdout == "creating .venv with Python 3.12.1\n"
    assert second.stdout == ""


# install-test-tools

BASICS = ("bash", "cat", "cksum", "dirname", "grep", "head", "mkdir", "rm", "sed")


def bare(project: Path) -> str:
    """The PATH of a machine with nothing."""
    path = project / "bin"
    path.mkdir(exist_ok=True)
    for name in BASICS:
        found = shutil.which(name)
        assert found is not None
        if not (path / name).exists():
            (path / name).symlink_to(found)
    return str(path)


def packages(project: Path, *tools: str) -> set[str]:
    """The packages that a machine with nothing installs for these tools."""
    (project / "scripts/apt-install").write_text("#!/bin/bash\necho packages: $*\nexit 3\n")
    done = run(project, "install-test-tools", *tools, PATH=bare(project), JAVA_HOME="")
    assert done.returncode == 3, done.stderr
    (line,) = done.stdout.splitlines()
    return set(line.removeprefix("packages: ").split())


def test_the_stack_installs_its_own_programs_only(project: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    (tools,) = re.findall(r"^stack:.*\n\t@scripts/install-test-tools (.+)$", makefile, re.MULTILINE)
    assert set(tools.split()).isdisjoint({"axe", "chromium", "promtool", "amqp", "rabbitmq-3"})
    found, whole = packages(project, *tools.split()), packages(project)
    assert {"maven", "golang-go", "prometheus", "prometheus-alertmanager"} <= found
    assert any("jre" in name for name in found)
    assert whole - found == {"chromium", "fonts-dejavu-core", "npm"}


@pytest.mark.parametrize(
    ("tool", "wanted"),
    [
        ("chromium", {"chromium", "fonts-dejavu-core"}),
        ("promtool", {"prometheus"}),
        ("nsq", {"golang-go"}),
        ("alertmanager", {"prometheus-alertmanager"}),
    ],
)
def test_a_tool_installs_what_it_needs(project: Path, tool: str, wanted: set[str]) -> None:
    assert packages(project, tool) == wanted


def test_an_unknown_tool_is_refused(project: Path) -> None:
    done = run(project, "install-test-tools", "nsq", "chrome")
    assert done.returncode == 2
    assert "unknown tool 'chrome'; expected some of: kafka rabbitmq" in done.stderr


# install-kubernetes-parts


def test_the_build_for_kubernetes_says_what_is_missing(project: Path) -> None:
    done = run(project, "install-kubernetes-parts", PATH=bare(project))
    assert done.returncode == 1
    assert "needs Go 1.26 or newer" in done.stderr
    assert not (project / ".cache").exists()
