"""A PostgreSQL of the tests' own: a throw-away cluster on a Unix socket, gone with the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

OWNER = "postgres"  # PostgreSQL refuses to run as root; Debian's package makes this user


class Postgres:
    """Starts in about two seconds. `new_database` gives the URL of an empty database."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        assert found, "no PostgreSQL in /usr/lib/postgresql: ./run test installs it"
        self._bin = found[-1]
        self._as_owner = os.geteuid() == 0
        self._folder = Path(tempfile.mkdtemp(prefix="ms-pg-"))
        self._count = 0

    def __enter__(self) -> Postgres:
        if self._as_owner:
            user = pwd.getpwnam(OWNER)
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", OWNER, "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8")
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", data, "-w", "-t", "30", "-l", log, "-o", options, "start")
        return self

    def new_database(self) -> str:
        self._count += 1
        name = f"test{self._count}"
        self._run("createdb", "-h", str(self._folder), "-U", OWNER, name)
        return f"postgresql+asyncpg://{OWNER}@/{name}?host={quote(str(self._folder), safe='')}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if self._as_owner:
            command = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups", *command]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, timeout=60)
