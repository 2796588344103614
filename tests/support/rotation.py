"""Secrets that are replaced while a process uses them."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from testbed.certificates import CLIENT, Certificates, client_pair


class Mount:
    """A Kubernetes secret volume: its files are reached through a link, which is swapped."""

    def __init__(self, folder: Path, files: Mapping[str, str | bytes]) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        folder.mkdir(parents=True)
        self.swap(files)
        for name in files:
            (folder / name).symlink_to(Path("..data") / name)

    def path(self, name: str) -> Path:
        return self._folder / name

    def swap(self, files: Mapping[str, str | bytes]) -> None:
        """Replace all files at once and delete the old ones, like kubelet does."""
        data = self._folder / "..data"
        before = data.resolve() if data.exists() else None
        made = self._folder / f"..version_{next(self._numbers)}"
        made.mkdir()
        for name, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            (made / name).write_bytes(raw)
        link = self._folder / "..data_tmp"
        link.symlink_to(made.name)
        os.replace(link, data)  # noqa: PTH105 - as kubelet does it
        if before is not None:
            shutil.rmtree(before)


def certificate_files(
    certificates: Certificates, seconds: float | None = None
) -> dict[str, str | bytes]:
    """Make a client certificate with its key that expires after some seconds."""
    ends = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    certificate, key = client_pair(certificates.authority, CLIENT, ends)
    return {"tls.crt": certificate, "tls.key": key}
