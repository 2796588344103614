"""How the addresses in docker-compose.yml are replaced by those of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.compose import Addresses, Files
from testbed.ports import PortBlock

SERVICES = {
    "kafka": {},
    "nsqd": {},
    "prometheus": {"ports": [{"published": "19090", "target": 9090}]},
}


@pytest.fixture
def addresses() -> Iterator[Addresses]:
    ports = PortBlock()
    yield Addresses(SERVICES, ports, published=False)
    ports.release()


def test_services_become_ports_of_this_machine(addresses: Addresses) -> None:
    kafka, controller = addresses.port("kafka", 9092), addresses.port("kafka", 9093)
    assert addresses.localized("PLAINTEXT://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093", "kafka") == (
        f"PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}"
    )
    assert addresses.localized("1@kafka:9093", "kafka") == f"1@127.0.0.1:{controller}"
    here = addresses.port("prometheus", 9090)
    assert addresses.localized("--listen=0.0.0.0:9090", "prometheus") == (
        f"--listen=127.0.0.1:{here}"
    )
    assert addresses.localized("see http://localhost:19090/x", "kafka") == (
        f"see http://localhost:{here}/x"
    )
    assert addresses.localized("--broadcast-address=nsqd", "nsqd") == (
        "--broadcast-address=127.0.0.1"
    )


@pytest.mark.parametrize(
    "text", ["--destination=kafka", "my-kafka:9092", "kafka.example:9092", "localhost:3000", "a:1"]
)
def test_what_is_no_service_stays(addresses: Addresses, text: str) -> None:
    assert addresses.localized(text, "kafka") == text


def test_mounted_files_are_copied_with_the_addresses_of_this_machine(
    addresses: Addresses, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.yml").write_text("targets: [kafka:9092]")
    volumes = [
        {"type": "bind", "source": str(source), "target": "/etc/it"},
        {"type": "volume", "target": "/data"},
    ]
    files = Files(tmp_path / "run", "nsqd", volumes, addresses)
    copy = Path(files.localized("/etc/it/a.yml"))
    assert copy.read_text() == f"targets: [127.0.0.1:{addresses.port('kafka', 9092)}]"
    assert Path(files.localized("--data-path=/data").partition("=")[2]).is_dir()
    assert files.localized("/etc/item /var/data") == "/etc/item /var/data"


def test_what_is_mounted_and_not_there_is_told_of(addresses: Addresses, tmp_path: Path) -> None:
    volumes = [{"type": "bind", "source": str(tmp_path / "none"), "target": "/etc/it"}]
    with pytest.raises(FileNotFoundError, match="which is not there"):
        Files(tmp_path / "run", "nsqd", volumes, addresses)
