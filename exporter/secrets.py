"""Secrets that stand in files, read when they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MAX_SECRET_BYTES = 1 << 20


class SecretFileError(Exception):
    """A secret's file can't be used; names the key and the path, never the content."""

    def __init__(self, key: str, path: Path, problem: str) -> None:
        """`problem` says what is wrong with the file at `path`."""
        super().__init__(key, path, problem)

    def __str__(self) -> str:
        key, path, problem = self.args
        return f"{path}: {key}: {problem}"


def with_secrets(
    source: str, properties: Mapping[str, str], files: Mapping[str, Path]
) -> dict[str, str]:
    """Return the client properties with those whose values stand in files, as these are now.

    Raises `SecretFileError` naming the key and the file where one can't be used.
    """
    return {
        **properties,
        **{
            name: read_secret(f"sources[{source}].client_files.{name}", path)
            for name, path in files.items()
        },
    }


def read_secret(key: str, path: Path) -> str:
    """Return the file's text without the newline at its end. Raises `SecretFileError`, which calls it `key`."""
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
        # Raised out here, so that no error which holds the content is attached to it.
        raise SecretFileError(key, path, problem or "can't be read")
    return text
