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
    """The web configuration in use. It is read again when one of its files has changed.

    An invalid change is logged once as `web_config.reload_failed`, and the previous settings stay
    in use. The same applies to a change that switches TLS on or off, which needs a restart.
    """

    def __init__(self, path: Path) -> None:
        """Read `path` and the files that it names. Raises `WebConfigError`."""
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
        """The last valid settings."""
        return self._settings

    def current(self) -> WebSettings:
        """Return the current settings.

        Calls `stat` for each file, and reads them if one has changed.
        """
        if self.changed():
            with self._lock:
                if self.changed():
                    self._reload()
        return self._settings

    def changed(self) -> bool:
        """Return whether a file has changed since it was read; calls `stat` for each."""
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
            # The text says everything; a traceback would add nothing.
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
        # Signatures are taken before reading, so that a change during reading is detected next
        # time. They are kept if reading fails, so that the same error is logged only once.
        self._seen = {path: _signature(path) for path in (self._path, *self._seen)}
        own = self._seen[self._path]
        parsed = parse(self._path)
        if again and not parsed.model_fields_set:
            # A missing file may be about to be written. Without it there would be no password.
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
    """Read the web configuration at `path`; relative paths in it start at its folder.

    Raises `WebConfigError`.
    """
    return WebConfig(Path(path))


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
