"""Starts the real server as its user does, on loopback ports of its own, and ends it by pid."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediaserver.cli_common import load_settings
from mediaserver.cli_users import make_user
from mediaserver.store.database import open_database
from mediaserver.store.users import UserStore

COMMAND = Path(sys.executable).with_name("mediaserver")
ADMIN_PASSWORD = "an admin password for tests"
WRITTEN_HERE = ("server", "sip", "media", "http", "webrtc", "routing")
# What the shipped routing has, an echo without a greeting (603) and a recorded way to bob.
ROUTES = """
[[route]]
name = "echo"
number = "600"
program = "echo"

[[route]]
name = "pure-echo"
number = "603"
program = "echo"
options = { intro = false }

[[route]]
name = "welcome"
number = "601"
program = "welcome"

[[route]]
name = "message"
number = "602"
program = "message"

[[route]]
name = "rooms"
number = "700-799"
conference = "{number}"

[[route]]
name = "recorded"
number = "2bob"
user = "bob"
record = true

[[route]]
name = "extensions"
number = "*"
user = "{number}"
"""


@dataclass
class Server:
    folder: Path
    base_port: int  # SIP UDP+TCP here, TLS +1, HTTPS +2, metrics +3, browsers' media +4 and, with more workers, on
    users: dict[str, str] = field(default_factory=dict)
    extra: str = ""  # more TOML
    routes: str = ""  # rules that go before ROUTES
    sections: dict[str, str] = field(
        default_factory=dict
    )  # more lines in a section written here: {"media": "workers = 2"}
    rtp_ports: str = "21000-22999"
    max_calls: int = 375  # of 1,500 RTP ports: two legs a call, two ports a leg
    host: str = "127.0.0.1"
    web_host: str = ""  # HTTPS and metrics, if not where SIP is and on 127.0.0.1
    prefix: tuple[str, ...] = ()  # before the server's command: where it runs
    command: Path = COMMAND
    process: asyncio.subprocess.Process | None = None

    @property
    def config(self) -> Path:
        return self.folder / "mediaserver.toml"

    @property
    def sip(self) -> str:
        return f"{self.host}:{self.base_port}"

    @property
    def tls(self) -> str:
        return f"{self.host}:{self.base_port + 1}"

    @property
    def metrics_url(self) -> str:
        return f"http://{self.web_host or '127.0.0.1'}:{self.base_port + 3}"

    def _section(self, name: str, *lines: str) -> str:
        return "\n".join([f"[{name}]", *lines, self.sections.get(name, ""), ""])

    def write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "routing.toml").write_text(self.routes + ROUTES)
        self.config.write_text(
            self._section("server", f'data_dir = "{self.folder}/data"', 'realm = "test.example"', "drain_timeout_s = 2")
            + self._section(
                "sip",
                f'host = "{self.host}"',
                f"udp_port = {self.base_port}",
                f"tcp_port = {self.base_port}",
                f"tls_port = {self.base_port + 1}",
                f"max_calls = {self.max_calls}",
                "requests_per_source_per_s = 2000",
            )
            + self._section("media", f'port_range = "{self.rtp_ports}"')
            + self._section(
                "http",
                f'host = "{self.web_host or self.host}"',
                f'metrics_host = "{self.web_host or "127.0.0.1"}"',
                f"port = {self.base_port + 2}",
                f"metrics_port = {self.base_port + 3}",
                f'admin_password = "{ADMIN_PASSWORD}"',
            )
            + self._section("webrtc", f"port = {self.base_port + 4}")
            + self._section("routing", f'file = "{self.folder}/routing.toml"')
            + "".join(self._section(name) for name in self.sections if name not in WRITTEN_HERE)
            + self.extra
        )

    async def cli(self, *arguments: str) -> tuple[int, str, str]:
        """Runs `mediaserver ARGUMENTS --config …` as an operator would; exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            str(self.command),
            *arguments,
            "--config",
            str(self.config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def start(self) -> None:
        self.write_config()
        if self.users:
            await asyncio.to_thread(lambda: asyncio.run(self._add_users()))
        await self.run()

    async def _add_users(self) -> None:
        """What `mediaserver users add` does, without a process for each (that command has tests of its own)."""
        settings = load_settings(self.config)
        database = await open_database(settings.store.url, settings.server.data_dir)
        try:
            for name, password in self.users.items():
                await UserStore(database).add(make_user(settings, name, password, "", ""))
        finally:
            await database.close()

    async def run(self) -> None:
        log = (self.folder / "log.txt").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            *self.prefix,
            str(self.command),
            "run",
            "--config",
            str(self.config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.command.parents[2],  # the tree it belongs to: python -m looks there first
        )
        log.close()
        for _ in range(
            600
        ):  # a minute at least: 1.5 s is usual, but imports of a first start on a busy machine take 20
            if self.process.returncode is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            if await self.ready():
                return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"the server did not become ready:\n{self.log()[-4000:]}")

    async def ready(self) -> bool:
        try:
            return (await self.get("/health/ready"))[0] == 200
        except OSError:
            return False

    async def get(self, path: str) -> tuple[int, str]:
        def fetch() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(self.metrics_url + path, timeout=5) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return await asyncio.to_thread(fetch)

    async def metric(self, name: str) -> float:
        """The sum of all samples of a metric."""
        total = 0.0
        for line in (await self.get("/metrics"))[1].splitlines():
            if line.startswith((name + " ", name + "{")):
                total += float(line.split(" # ")[0].rsplit(" ", 1)[1])
        return total

    async def calls(self) -> list[dict[str, Any]]:
        code, out, err = await self.cli("calls", "list", "--json")
        assert code == 0, err
        result: list[dict[str, Any]] = json.loads(out)
        return result

    async def recordings(self) -> list[dict[str, Any]]:
        code, out, err = await self.cli("recordings", "list", "--json")
        assert code == 0, err
        result: list[dict[str, Any]] = json.loads(out)
        return result

    def log(self) -> str:
        path = self.folder / "log.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """kill -9: what a crash looks like."""
        assert self.process is not None
        self.process.kill()

    async def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, as an init system does; returns the exit code."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), timeout_s)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
                raise AssertionError(f"the server did not stop in {timeout_s} s:\n{self.log()[-3000:]}") from None
        code = self.process.returncode
        self.process = None
        assert code is not None
        return code
