"""The demo's own server: a configuration on loopback ports in a folder of its own, and the process that runs it.

Owns that folder and the process. Whatever else runs on this machine is not touched: free ports are looked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from mediaserver.demo.plan import QUEUES, VOICEMAIL, VOICEMAIL_NUMBER
from mediaserver.errors import MediaServerError

SERVER_HOST = "127.0.0.1"
CARRIER_HOST = "127.0.0.2"  # another address of the loopback network: a trunk that the server knows by it
CARRIER = "demo-carrier"
SERVER_RTP = "30000-30999"
CUSTOMER_RTP, AGENT_RTP = "31000-31499", "31500-31999"
PAGE_PORT = 8543
START_S_MAX = 60.0
STOP_S_MAX = 15.0


class PlaceFailed(MediaServerError):
    """The demo's server does not run, or the one named is none of ours."""


def is_local(host: str) -> bool:
    """Whether an address literal or name is this machine. A name that cannot be resolved is not."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    addresses = {ipaddress.ip_address(entry[4][0]) for entry in found}
    return bool(addresses) and all(_ours(address) for address in addresses)


def _ours(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return not address.is_unspecified and not address.is_multicast


def address_towards(server: str) -> str:
    """Our address from which "HOST:PORT" is reached. Raises OSError."""
    host, _, port = server.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))  # sends nothing
        return str(probe.getsockname()[0])


def free_port(host: str, wanted: int = 0) -> int:
    """A port that is free for UDP and TCP; `wanted` if it is. Raises OSError when there is none."""
    for _ in range(50):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections of a former run hold no port
            try:
                tcp.bind((host, wanted))
                udp.bind((host, tcp.getsockname()[1]))
            except OSError:
                wanted = 0
                continue
            return int(tcp.getsockname()[1])
    raise OSError(f"no free port on {host}")


def routes() -> str:
    """Routing rules of the demo's queues, for routing.toml."""
    rules = []
    for queue in QUEUES:
        users = ", ".join(f'"{user}"' for user in queue.users)
        rules.append(
            f'[[route]]\nname = "{queue.name}"\nnumber = "{queue.number}"\nusers = [{users}]\nrecord = true\n'
            f'consent = "{queue.consent}"\nlanguage = "{queue.language}"\n'
        )
    rules.append(
        f'[[route]]\nname = "{VOICEMAIL}"\nnumber = "{VOICEMAIL_NUMBER}"\nprogram = "message"\n'
        "options = { silence_s = 2.0 }\n"
    )
    rules.append('[[route]]\nname = "demo-people"\nnumber = "demo-*"\nuser = "{number}"\n')
    return "\n".join(rules)


@dataclass
class OwnServer:
    """`write` it, `start` it, `stop` it."""

    folder: Path
    page_host: str = SERVER_HOST
    sip_port: int = 0
    page_port: int = 0
    metrics_port: int = 0
    process: asyncio.subprocess.Process | None = None

    @property
    def config(self) -> Path:
        return self.folder / "mediaserver.toml"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def page(self) -> str:
        return f"https://{self.page_host}:{self.page_port}/qa"

    def write(self) -> None:
        """Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sip_port = free_port(SERVER_HOST)
        self.metrics_port = free_port(SERVER_HOST)
        self.page_port = free_port(self.page_host, PAGE_PORT)
        (self.folder / "routing.toml").write_text(routes(), encoding="utf-8")
        sections: dict[str, dict[str, object]] = {
            "server": {"data_dir": "data", "realm": "demo.mediaserver", "drain_timeout_s": 2.0},
            "sip": {"host": SERVER_HOST, "udp_port": self.sip_port, "tcp_port": 0, "tls_port": 0, "max_calls": 100},
            "media": {"port_range": SERVER_RTP, "realtime": False},
            "http": {
                "host": self.page_host,
                "port": self.page_port,
                "metrics_host": SERVER_HOST,
                "metrics_port": self.metrics_port,
            },
            "webrtc": {"port": 0},
            "routing": {"file": "routing.toml"},
            f"trunks.{CARRIER}": {"uri": f"sip:{CARRIER_HOST}", "allow_from": [CARRIER_HOST]},
        }
        lines = ["# Written by `mediaserver demo`, anew at each of its starts."]
        for name, values in sections.items():
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    async def start(self) -> None:
        """Returns when it takes calls. Raises PlaceFailed."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mediaserver", "run", "--config", str(self.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # ^C is for the demo, which then ends it in order
            )
        try:
            async with asyncio.timeout(START_S_MAX):
                while not await asyncio.to_thread(self._ready):
                    if self.process.returncode is not None:
                        raise PlaceFailed(f"the demo's server ended at once; {self.log} says why")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise PlaceFailed(f"the demo's server is not ready after {START_S_MAX:g} s; see {self.log}") from None

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{SERVER_HOST}:{self.metrics_port}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def stop(self) -> None:
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S_MAX)
        except TimeoutError:
            process.kill()
            await process.wait()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
