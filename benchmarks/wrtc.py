"""libwebrtc outside a browser (@roamhq/wrtc for Node) in a call over the JSON socket: a tone both ways, a message on
the data channel, hold and resume; counted at its own end by getStats().

    (cd benchmarks/node && npm ci)          once: 26 MB
    python benchmarks/wrtc.py               prints what was counted
    python benchmarks/wrtc.py --record      also appends a line to benchmarks/history/wrtc.jsonl

Needs an address that is not loopback: libwebrtc gathers no other. Fails (exit 1) when something does not come in its
time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.bootstrap import machine_addresses  # noqa: E402
from tests.support.server import Server  # noqa: E402

PORT = 15_960
PEER = Path(__file__).with_name("wrtc_peer.cjs")
MODULES = Path(__file__).with_name("node") / "node_modules"
STEP_S_MAX = 20.0
RIGHTS = ("--right", "publish", "--right", "subscribe")


class Peer:
    """The Node process."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = {"NODE_PATH": str(MODULES), **os.environ}
        self._process = await asyncio.create_subprocess_exec(
            "node", str(PEER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
        )

    def tell(self, **message: Any) -> None:
        assert self._process and self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def hear(self, wanted: str) -> Any:
        """The next line that has this in it."""
        assert self._process and self._process.stdout
        async with asyncio.timeout(STEP_S_MAX):
            while True:
                line = await self._process.stdout.readline()
                if not line:
                    raise RuntimeError("the Node process has ended; is `npm ci` done in benchmarks/node?")
                message = json.loads(line)
                self.said.append(message)
                if wanted in message:
                    return message[wanted]

    async def ask(self, wanted: str, **message: Any) -> Any:
        self.tell(**message)
        return await self.hear(wanted)

    async def stop(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            await self._process.wait()


class Page:
    """The JSON socket of one user."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def say(self, **message: Any) -> None:
        await self._socket.send_json(message)

    async def hear(self, wanted: str) -> dict[str, Any]:
        async with asyncio.timeout(STEP_S_MAX):
            while True:
                message: dict[str, Any] = await self._socket.receive_json()
                if message["type"] in ("error", "refused", "ended"):
                    raise RuntimeError(f"while waiting for {wanted}: {message}")
                if message["type"] == wanted:
                    return message


async def until_heard(peer: Peer, least_db: float) -> dict[str, Any]:
    """Its report once the tone it hears is that loud, or if never, the last one."""
    for _ in range(40):
        report: dict[str, Any] = await peer.ask("report", report=True)
        if report["heard_db"] > least_db:
            break
        await asyncio.sleep(0.25)
    return report


async def call(server: Server, page: Page, peer: Peer) -> dict[str, Any]:
    await page.say(type="call", to="603", sdp=await peer.ask("offer", offer="sendrecv"), id=1)
    name = (await page.hear("ok"))["call"]
    connected_ms = await peer.ask("connected_ms", answer=(await page.hear("answered"))["sdp"])
    heard = await until_heard(peer, -30.0)
    peer.tell(say=json.dumps({"type": "chat", "text": "привет", "id": 7}))
    answered = json.loads(await peer.hear("message"))
    while answered.get("id") != 7:
        answered = json.loads(await peer.hear("message"))
    for direction in ("sendonly", "sendrecv"):  # hold, and back
        await page.say(type="offer", call=name, sdp=await peer.ask("offer", offer=direction), id=2)
        peer.tell(answer=(await page.hear("answer"))["sdp"])
    await asyncio.sleep(3.0)
    after = await until_heard(peer, -30.0)
    (leg,) = [leg for running in await server.calls() for leg in running["legs"]]
    await page.say(type="hang_up", call=name)
    return {"connected_ms": connected_ms, "first": heard, "after_hold": after, "chat": answered["type"], "leg": leg}


async def measure(folder: Path, host: str) -> dict[str, Any]:
    server = Server(folder / "server", PORT, {"ann": "of-ann"}, host=host, web_host="127.0.0.1", max_calls=5)
    peer = Peer()
    await server.start()
    try:
        await peer.start()
        code, token, problem = await server.cli("tokens", "create", "--user", "ann", *RIGHTS)
        if code:
            raise RuntimeError(problem)
        address = f"wss://127.0.0.1:{PORT + 2}/ws/v1"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, ssl=False) as socket:
            page = Page(socket)
            await page.say(type="hello", token=token.split()[-1])
            await page.hear("welcome")
            return await call(server, page, peer)
    finally:
        await peer.stop()
        await server.stop(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default=(*machine_addresses(), "127.0.0.1")[0], help="where the server's media is")
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/wrtc.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), arguments.host))
    leg = found.pop("leg")
    for name, value in {**found, "codec": leg["codec"], "srtp": leg["srtp"]}.items():
        print(f"{name:14} {value}")
    if arguments.record:
        append("wrtc", found)
    reports = (found["first"], found["after_hold"])
    if found["chat"] != "ok" or min(report["heard_db"] for report in reports) < -30.0 or reports[1]["received"] < 50:
        sys.exit("the tone or the message did not come back")


if __name__ == "__main__":
    main()
