"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from vision_event_block.server.storage import Store

#: Only guards against hanging: on a busy machine it is slow.
_START_S = 120


def server_binaries():
    """The folder of initdb and postgres; None where there is no server."""
    for folder in (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), None):
        if all(shutil.which(name, path=folder) for name in ("initdb", "postgres")):
            return Path(shutil.which("postgres", path=folder)).parent
    return None


class Cluster:
    """A running server."""

    def __init__(self, folder):
        self._folder = folder
        self._of_a_store = None

    def new_database(self, template="template1"):
        """The URL of an empty database, or of a copy of another one."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(
            host=str(self._folder), user="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def new_store_database(self):
        """The URL of a database of an empty store: a copy, as making its tables takes long."""
        if self._of_a_store is None:
            url = self.new_database()
            with (
                tempfile.TemporaryDirectory() as folder,
                Store.open(Path(folder), database_url=url),
            ):
                self._of_a_store = make_url(url).database
        return self.new_database(self._of_a_store)


@contextmanager
def cluster(binaries):
    """A server for as long as the block lasts. It must not run as root, so root lends it a user."""
    as_user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    # A socket's path is short, pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if as_user:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            [
                *(binaries / "initdb", "--no-sync", "--auth=trust", "--username=postgres"),
                *("--encoding=UTF8", "--locale=C", "-D", folder / "data"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", folder / "data", "-k", folder),
                *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
            cwd=folder,
            **as_user,
        )
        try:
            _wait_until_ready(folder, server)
            yield Cluster(folder)
        finally:
            server.send_signal(signal.SIGQUIT)  # it waits for no client, and writes nothing back
            server.wait(_START_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(folder, server):
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and server.poll() is None:
        with suppress(psycopg.OperationalError), psycopg.connect(host=str(folder), user="postgres"):
            return
        time.sleep(0.05)
    raise RuntimeError((folder / "log").read_text())
