"""The pages as a person has them: one headless Chromium with a fake microphone and camera, any number of tabs.

Driven by CDP. Policies stay in force; what a page complains about (errors, violated policy) is kept for the asking.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.chromium import FLAGS
from tests.support.web import MODULES, install_packages

# Runs before any script of the page.
WATCH = """
window.complaints = [];
addEventListener("error", ({ message }) => complaints.push(`error ${message}`));
addEventListener("unhandledrejection", ({ reason }) => complaints.push(`rejected ${reason?.stack ?? reason}`));
document.addEventListener("securitypolicyviolation",
  ({ violatedDirective, blockedURI }) => complaints.push(`policy ${violatedDirective} ${blockedURI}`));
"""
# What the call in hand plays: its level as the browser measured it after decoding, and its strongest frequency. The
# latter is null once this side has held: Chromium plays a stream that was taken away and came back, but ends for good
# what other parts of the page may listen to.
HEARD = """
(async () => {
  const { remoteAudio, peer } = document.querySelector("phone-app").phone.current;
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(remoteAudio).connect(analyser);
  await new Promise((done) => setTimeout(done, 700));
  const spectrum = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(spectrum);
  const strongest = Math.max(...spectrum);
  const peak = Number.isFinite(strongest) ? spectrum.indexOf(strongest) * context.sampleRate / analyser.fftSize : null;
  await context.close();
  let rms = 0;
  for (const entry of (await peer.getStats()).values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "audio") rms = entry.audioLevel;
  }
  return { rms, peak_hz: peak };
})()
"""
NAMED_KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32, "Backspace": 8}


class Browser:
    def __init__(self, folder: Path, microphone: Path, flags: tuple[str, ...] = ()) -> None:
        """microphone: 48 kHz WAV, repeated for ever."""
        self._folder = folder
        self._flags = (*FLAGS, *flags, f"--use-file-for-fake-audio-capture={microphone}")
        self._process: asyncio.subprocess.Process | None = None
        self._client: aiohttp.ClientSession | None = None
        self._port = ""
        self.pages: list[Page] = []

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        nothing = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            "chromium",
            *self._flags,
            f"--user-data-dir={self._folder}/profile",
            "about:blank",
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
        )
        port_file = self._folder / "profile" / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and "\n" in port_file.read_text():
                break
            await asyncio.sleep(0.1)
        self._port = port_file.read_text().split("\n")[0]
        self._client = aiohttp.ClientSession()

    async def open(self, url: str, *, width: int = 1280, height: int = 800) -> Page:
        assert self._client is not None
        async with self._client.put(f"http://127.0.0.1:{self._port}/json/new?about:blank") as answer:
            target = json.loads(await answer.text())
        page = Page(await self._client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
        self.pages.append(page)
        await page.command("Page.enable")
        await page.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        await page.size(width, height)
        await page.looks()
        await page.command("Page.navigate", url=url)
        await page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

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
        shutil.rmtree(self._folder / "profile", ignore_errors=True)


class Page:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._width = 0

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
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

    async def until(self, expression: str, timeout_s: float = 15.0) -> Any:
        for _ in range(int(timeout_s * 20)):
            if value := await self.evaluate(f"((it) => it instanceof Node || it)({expression})"):
                return value
            await asyncio.sleep(0.05)
        text = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {expression}\n{text}\n{await self.complaints()}")

    async def text(self) -> str:
        return str(await self.evaluate("document.body.innerText"))

    async def until_text(self, text: str, timeout_s: float = 15.0) -> None:
        await self.until(f"document.body?.innerText.includes({json.dumps(text)})", timeout_s)

    async def complaints(self) -> list[str]:
        return list(await self.evaluate("complaints"))

    # -- hands

    async def press(self, *keys: str, shift: bool = False, alt: bool = False) -> None:
        """Keys one after the other: "Enter", "Tab", or characters."""
        for key in keys:
            named = key in NAMED_KEYS
            what = {
                "key": key,
                "modifiers": (8 if shift else 0) | (1 if alt else 0),
                "windowsVirtualKeyCode": NAMED_KEYS.get(key, ord(key[0].upper())),
            }
            text = {"Enter": "\r", " ": " "}.get(key, "" if named else key)
            await self.command("Input.dispatchKeyEvent", type="keyDown", **what, **({"text": text} if text else {}))
            await self.command("Input.dispatchKeyEvent", type="keyUp", **what)

    async def tab_to(self, expression: str, *, back: bool = False) -> None:
        """Tab until the focused element, `it`, fits: what no Tab reaches is out of reach for a keyboard."""
        for _ in range(60):
            if await self.evaluate(f"((it) => it !== document.body && Boolean({expression}))(document.activeElement)"):
                return
            await self.press("Tab", shift=back)
        raise AssertionError(f"no Tab leads to {expression}")

    async def click(self, text: str) -> None:
        """The button with this name, as a screen reader would say it."""
        found = await self.evaluate(
            f"""(() => {{
              const name = (it) => (it.getAttribute("aria-label") ?? it.innerText).trim();
              const wanted = {json.dumps(text)};
              const all = [...document.querySelectorAll("button")].filter((it) => it.getClientRects().length);
              const button = all.find((it) => name(it) === wanted) ?? all.find((it) => name(it).includes(wanted));
              button?.click();
              return Boolean(button);
            }})()"""
        )
        assert found, f"no button {text!r}:\n{await self.text()}"

    async def sign_in(self, user: str, password: str) -> None:
        await self.until("document.querySelector('input[name=user]')")
        await self.evaluate(
            f"""(() => {{
              document.querySelector("input[name=user]").value = {json.dumps(user)};
              document.querySelector("input[name=password]").value = {json.dumps(password)};
              document.querySelector("form").requestSubmit();
            }})()"""
        )
        await self.until("document.querySelector('phone-app').phone.line.state === 'ready'")

    async def dial(self, number: str) -> None:
        await self.evaluate(f"document.querySelector('phone-app').phone.dial({json.dumps(number)})")

    async def call_state(self) -> str | None:
        state = await self.evaluate("document.querySelector('phone-app').phone.current?.state ?? null")
        return None if state is None else str(state)

    async def heard(self) -> dict[str, Any]:
        """rms 0..1 and, where it can be told, the strongest frequency (peak_hz) of what the call in hand plays now."""
        return dict(await self.evaluate(HEARD))

    # -- eyes

    async def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        self._width = width
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    async def looks(self, *, dark: bool = False) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await self.command("Emulation.setEmulatedMedia", features=features)

    async def picture(self, path: Path) -> None:
        shot = await self.command("Page.captureScreenshot", format="png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it stands, WCAG 2.2 AA and best practices."""
        if not await self.evaluate("Boolean(window.axe)"):
            install_packages()
            await self.evaluate((MODULES / "axe-core" / "axe.min.js").read_text())
        found = await self.evaluate(
            "axe.run(document, { resultTypes: ['violations'] }).then((done) => done.violations)"
        )
        return [
            f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}" for rule in found for node in rule["nodes"]
        ]

    async def widest(self) -> int:
        """Pixels by which the page is wider than its screen: none, or it must be scrolled sideways."""
        return int(await self.evaluate("document.documentElement.scrollWidth")) - self._width
