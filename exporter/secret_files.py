"""Reads secrets from files when they are needed, and again for a moment if a file is invalid."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from exporter.scrub import is_public_file, learn, learn_client, learn_property

T = TypeVar("T")

MAX_SECRET_BYTES = 1 << 20
PATIENCE = 0.5
"""Seconds for which invalid files are read again, because they may be in the middle of a
replacement.
"""
PAUSE = 0.05
"""Seconds between two attempts."""


class SecretFileError(Exception):
    """A secret's file cannot be used. The text names the key and the path, never the content."""

    def __init__(self, key: str, path: Path, problem: str) -> None:
        """`problem` says what is wrong with the file at `path`."""
        super().__init__(key, path, problem)

    def __str__(self) -> str:
        key, path, problem = self.args
        return f"{path}: {key}: {problem}"


def patiently(read: Callable[[], T], *errors: type[Exception]) -> T:
    """Return the result of `read`; call it again for a moment if it raises one of `errors`."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return read()
        except errors:
            if time.monotonic() >= until:
                raise
        time.sleep(PAUSE)


def with_secrets(
    source: str, properties: Mapping[str, str], files: Mapping[str, Path]
) -> dict[str, str]:
    """Return the client properties, including those with current values from files.

    All files are read twice, so that a user and its password are from the same moment. Raises
    `SecretFileError`, which names the key and the file, if one cannot be used.
    """

    def read() -> dict[str, str]:
        return {
            name: read_secret(
                f"sources[{source}].client_files.{name}", path, public=is_public_file(name)
            )
            for name, path in files.items()
        }

    found = read()
    until = time.monotonic() + PATIENCE
    while len(files) > 1 and (again := read()) != found and time.monotonic() < until:
        found = again
    for name, value in found.items():
        learn_property(name, value)
    whole = {**properties, **found}
    learn_client(whole)
    return whole


def read_secret(key: str, path: Path, *, public: bool = False) -> str:
    """Return the file's text without the newline at its end, and mask it unless it is `public`.

    An invalid file is read again for a moment. Raises `SecretFileError`, which names `key`.
    """
    found = patiently(lambda: _read(key, path), SecretFileError)
    if not public:
        learn(found)
    return found


def _read(key: str, path: Path) -> str:
    text = problem = None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET_BYTES + 1)
        text = data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        problem = f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "not UTF-8 text"
    else:
        if len(data) > MAX_SECRET_BYTES:
            problem = f"larger than {MAX_SECRET_BYTES:,} bytes"
        elif not text:
            problem = "the file is empty"
        elif "\0" in text:
            problem = "must not contain a NUL character"
    if text is None or problem is not None:
        # Raised outside the handler, so that no error with the content is attached to it.
        raise SecretFileError(key, path, problem or "can't be read")
    return text


def mark_of(paths: Iterable[Path | None]) -> bytes | None:
    """Return a value that changes with the content of the files; None if one cannot be read now."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        for path in paths:
            if path is None:
                continue
            if path.is_dir():
                for each in sorted(path.iterdir()):
                    digest.update(f"{each.name}\0{each.stat().st_mtime_ns}\0".encode())
                continue
            with path.open("rb") as file:
                digest.update(hashlib.blake2b(file.read(MAX_SECRET_BYTES)).digest())
    except OSError:
        return None
    return digest.digest()
