"""Chromium, headless, with a speech file as its microphone and JsSIP (unchanged) as its phone; driven by CDP."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from tests.support.listen import write_wav

BROWSER = Path(__file__).with_name("browser")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--ignore-certificate-errors",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)


def bundle() -> Path:
    """phone.js with JsSIP and SIP.js in one file; installs what the lockfile says on first use."""
    modules, built = BROWSER / "node_modules", BROWSER / "node_modules" / "phone.bundle.js"
    if not all((modules / name).exists() for name in ("jssip", "sip.js")):
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=BROWSER, check=True)
    newest = max(path.stat().st_mtime for path in BROWSER.glob("*.js"))
    if not built.exists() or built.stat().st_mtime < newest:
        command = [modules / ".bin" / "esbuild", "--bundle", "--format=iife", "phone.js", f"--outfile={built}"]
        subprocess.run([*command, "--log-level=error"], cwd=BROWSER, check=True)
    return built


class Chromium:
    """Start with `start`, end with `stop`. One page, one phone."""

    def __init__(self, folder: Path, microphone: Path) -> None:
        """microphone: 48 kHz WAV, repeated for ever."""
        self.folder = folder
        self._microphone = microphone
        self._process: asyncio.subprocess.Process | None = None
        self._client: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._numbers = count(1)

    async def start(self, page_url: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            "chromium",
            *FLAGS,
            f"--user-data-dir={self.folder}/profile",
            f"--use-file-for-fake-audio-capture={self._microphone}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        port_file = self.folder / "profile" / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and "\n" in port_file.read_text():
                break
            await asyncio.sleep(0.1)
        port = port_file.read_text().split("\n")[0]
        self._client = aiohttp.ClientSession()
        async with self._client.get(f"http://127.0.0.1:{port}/json/list") as answer:
            targets = json.loads(await answer.text())
        page = next(target for target in targets if target["type"] == "page")
        self._socket = await self._client.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
        await self.command("Page.enable")
        await self.command("Page.setBypassCSP", enabled=True)
        await self.command("Page.navigate", url=page_url)
        for _ in range(100):
            if await self.evaluate("document.readyState === 'complete' && location.href !== 'about:blank'"):
                break
            await asyncio.sleep(0.1)
        await self.evaluate(bundle().read_text())

    async def stop(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        shutil.rmtree(self.folder / "profile", ignore_errors=True)

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        assert self._socket is not None
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async for message in self._socket:
            answer = json.loads(message.data)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])
        raise AssertionError("Chromium has gone")

    async def evaluate(self, expression: str) -> Any:
        result = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    # -- the phone

    async def register(self, socket_url: str, uri: str, password: str) -> None:
        await self.evaluate(f"phone.register({json.dumps(socket_url)}, {json.dumps(uri)}, {json.dumps(password)})")

    async def call(self, target: str) -> None:
        await self.evaluate(f"phone.call({json.dumps(target)})")

    async def events(self) -> list[str]:
        return list(await self.evaluate("phone.events()"))

    async def wait_for(self, event: str, timeout_s: float = 20.0) -> None:
        for _ in range(int(timeout_s * 20)):
            if any(seen.startswith(event) for seen in await self.events()):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{event!r} never came: {await self.events()}")

    async def heard(self, path: Path) -> Path:
        """What the phone has heard so far, as a WAV file."""
        got = await self.evaluate("phone.heard()")
        write_wav(path, int(got["rate"]), np.frombuffer(base64.b64decode(got["samples"]), dtype="<i2"))
        return path
