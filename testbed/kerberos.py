"""MIT Kerberos for tests: a realm with its own KDC, without root and beside the system's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from testbed.children import Child
from testbed.tools import MissingToolError
from testbed.waiting import wait_until

REALM = "MQ.TEST"
SERVICE = "kafka/127.0.0.1"


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise MissingToolError(f"no {name}: run scripts/install-kerberos")
    return found


class Realm:
    """A KDC on 127.0.0.1 and its principals, each with a keytab.

    `stop` and `start` simulate an outage.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._child: Child | None = None
        self.config = folder / "krb5.conf"
        self.config.write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\n"
            "dns_lookup_kdc = false\ndns_lookup_realm = false\n"
            "dns_canonicalize_hostname = false\nrdns = false\nudp_preference_limit = 1\n"
            f"[realms]\n{REALM} = {{\nkdc = 127.0.0.1:{port}\n}}\n"
        )
        profile = folder / "kdc.conf"
        profile.write_text(
            f'[kdcdefaults]\nkdc_listen = ""\nkdc_tcp_listen = 127.0.0.1:{port}\n'
            f"[realms]\n{REALM} = {{\n"
            f"database_name = {folder}/principal\nkey_stash_file = {folder}/stash\n"
            f"acl_file = {folder}/acl\nmax_life = 10h\n}}\n"
        )
        self._environment = {
            **os.environ,
            "KRB5_CONFIG": str(self.config),
            "KRB5_KDC_PROFILE": str(profile),
            "KRB5CCNAME": f"FILE:{folder}/tickets-of-the-tests",
        }
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables with which a process finds the realm."""
        return {"KRB5_CONFIG": str(self.config)}

    def keytab(self, principal: str) -> Path:
        """Create a principal, or give it a new key; return the keytab."""
        file = self._folder / f"{principal.replace('/', '-')}.keytab"
        file.unlink(missing_ok=True)
        self._kadmin("addprinc", "-randkey", principal)
        self._kadmin("ktadd", "-k", str(file), principal)
        return file

    def start(self) -> None:
        """Return when the KDC accepts connections."""
        command = [_tool("krb5kdc"), "-n", "-r", REALM]
        self._child = Child(command, self._folder / "kdc.log", self._environment)
        wait_until(self._answers, "the KDC to answer")

    def stop(self) -> None:
        """Stop the KDC."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _answers(self) -> bool:
        if self._child is not None and not self._child.is_running:
            raise RuntimeError(f"the KDC ended by itself:\n{self._child.log_tail()}")
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def _kadmin(self, *command: str) -> None:
        self._run("kadmin.local", "-r", REALM, "-q", " ".join(command))

    def _run(self, tool: str, *arguments: str) -> None:
        done = subprocess.run(
            [_tool(tool), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{tool} failed:\n{done.stdout}{done.stderr}")


@contextmanager
def realm(folder: Path, port: int) -> Iterator[Realm]:
    """A running realm."""
    made = Realm(folder, port)
    try:
        made.start()
        yield made
    finally:
        made.stop()
