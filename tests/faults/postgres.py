"""A PostgreSQL server of its own for a test: Debian's programs, a temporary folder, a local socket.

The server refuses to run as root, so that it runs as `nobody` where the tests are root's.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import sqlalchemy as sa

from faults.harness import clean_environment, start

START_S = 30.0
STOP_S = 30.0


def programs() -> Path | None:
    """The folder of initdb and postgres, the newest version first; None where there is none."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name)
    )
    on_path = shutil.which("initdb")
    folders = [*installed, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


class Postgres:
    """The server, while the block lasts. `url` is as DATABASE_URL wants it."""

    def __init__(self) -> None:
        """Skips the test where PostgreSQL is not installed."""
        found = programs()
        if found is None:
            pytest.skip("PostgreSQL's initdb and postgres are not installed")
        self._programs = found
        self._options: dict[str, Any] = {}
        self._user = pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            self._user = "nobody"
            nobody = pwd.getpwnam(self._user)
            self._options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def __enter__(self) -> Self:
        # A short path, for a socket's may have 107 bytes, and one that `nobody` may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        data = self._folder / "data"
        if self._options:
            os.chown(self._folder, self._options["user"], self._options["group"])
        environment = clean_environment(self._folder)
        initdb = [str(self._programs / "initdb"), "-D", str(data), "-U", self._user]
        try:
            subprocess.run(
                [*initdb, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
                cwd=self._folder,
                env=environment,
                check=True,
                capture_output=True,
                **self._options,
            )
            command = [str(self._programs / "postgres"), "-D", str(data), "-k", str(self._folder)]
            self.log = self._folder / "postgres.log"
            self._server = start(
                [*command, "-c", "listen_addresses=", "-c", "fsync=off"],
                environment,
                self.log,
                **self._options,
            )
            self.url = f"postgresql://{self._user}@/postgres?host={self._folder}"
            self._wait()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _wait(self) -> None:
        """Until it takes connections; RuntimeError with its log where it does not."""
        engine = sa.create_engine(self.sqlalchemy_url)
        until = time.monotonic() + START_S
        while True:
            try:
                with engine.connect():
                    break
            except sa.exc.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(self.log.read_text()) from error
                time.sleep(0.1)
        engine.dispose()

    @property
    def sqlalchemy_url(self) -> str:
        return self.url.replace("postgresql://", "postgresql+psycopg://")

    def _remove(self) -> None:
        server = getattr(self, "_server", None)
        if server and server.poll() is None:
            server.send_signal(signal.SIGINT)  # ends at once, whoever is connected
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
