"""Reads the web configuration, again when one of its files has changed."""

import threading
from pathlib import Path

import structlog

from exporter.config.errors import on_one_line
from exporter.web.webconfig.errors import WebConfigError
from exporter.web.webconfig.parsing import parse
from exporter.web.webconfig.rate_limit import RateLimit
from exporter.web.webconfig.settings import WebSettings, comparable_san
from exporter.web.webconfig.tls import tls_context
from exporter.web.webconfig.users import Users

log = structlog.get_logger(__name__)

_Signature = tuple[int, int, int] | None  # of a file: mtime in ns, size in bytes, inode


class WebConfig:
    """The web configuration in force: read again when one of its files has changed.

    A change that can't be used is logged once as `web_config.reload_failed`, and what was in force
    stays in force; so does one that switches TLS on or off, which takes a restart.
    """

    def __init__(self, path: Path) -> None:
        """Read `path` and what it names; raises `WebConfigError`."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: dict[Path, _Signature] = {}
        self._settings = self._read(again=False)

    @property
    def tls(self) -> bool:
        """Whether TLS is served."""
        return self._settings.context is not None

    @property
    def in_force(self) -> WebSettings:
        """What the files said when they were read last and could be used."""
        return self._settings

    def current(self) -> WebSettings:
        """Return what the files say now: a `stat` of each, and a reading where one has changed."""
        if self.changed():
            with self._lock:
                if self.changed():
                    self._reload()
        return self._settings

    def changed(self) -> bool:
        """Tell whether a file is another one than was read; a `stat` of each."""
        return any(_signature(path) != seen for path, seen in self._seen.items())

    def _reload(self) -> None:
        try:
            settings = self._read(again=True)
            if (settings.context is not None) is not self.tls:
                message = (
                    f"{self._path}: tls_server_config: switching TLS on or off requires a restart"
                )
                raise WebConfigError(message)  # noqa: TRY301 # treated as every unusable change
        except WebConfigError as error:
            # The text says all; a traceback would add nothing.
            log.error("web_config.reload_failed", reason=str(error))  # noqa: TRY400
        else:
            self._settings = settings
            log.info("web_config.reloaded", path=str(self._path))

    def _read(self, *, again: bool) -> WebSettings:
        try:
            return self._read_files(again=again)
        except WebConfigError as error:
            raise WebConfigError(on_one_line(f"{self._path}: {error}")) from error.__cause__

    def _read_files(self, *, again: bool) -> WebSettings:
        # Signatures are taken before the reading, so that a change meanwhile is seen next time; and
        # kept when the reading fails, so that the same fault is found and logged once.
        self._seen = {path: _signature(path) for path in (self._path, *self._seen)}
        own = self._seen[self._path]
        parsed = parse(self._path)
        if again and not parsed.model_fields_set:
            # It may be about to be written, and without it there would be no password.
            raise WebConfigError("the file is empty; removing all settings requires a restart")
        folder, tls = self._path.parent, parsed.tls_server_config
        sans = tls.client_allowed_sans
        named = [name for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name]
        self._seen = {folder / name: _signature(folder / name) for name in named}
        self._seen[self._path] = own
        return WebSettings(
            context=tls_context(tls, folder) if tls.enabled else None,
            client_sans=None
            if sans is None
            else frozenset(comparable_san("", san) for san in sans),
            headers=tuple(parsed.http_server_config.headers.items()),
            users=Users(parsed.basic_auth_users),
            rate=RateLimit(parsed.rate_limit.interval, parsed.rate_limit.burst),
        )


def load(path: Path | str) -> WebConfig:
    """Read the web configuration at `path`; paths in it are relative to its folder.

    Raises `WebConfigError`.
    """
    return WebConfig(Path(path))


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
