"""A browser in a call loses its network and gets another one: how long until sound flows again, each way.

    python benchmarks/network_change.py                     prints five changes of each kind, seen on the wire
    python benchmarks/network_change.py --record            appends a line to benchmarks/history/network_change.jsonl
    python benchmarks/network_change.py -n 2 --kind other   two changes from one card to another that was there before

The phone page in Chromium talks to an echo in another network namespace, over one of two cables (veth). The kinds:

    same    the card goes down for 200 ms and comes back with its address
    later   it does so after 3 s
    other   the card goes down, another one is up already (Wi-Fi beside LTE, or beside a cable)
    new     the card goes down and another one comes up at this moment, with another address

Who listens is the far end of the cables (AF_PACKET), which knows nothing of browsers: "up" is when RTP reaches the
server again, "down" when it leaves for the browser, both from the moment there is a way again; "heard" is when the
browser plays its own tone again, which has gone both ways (0: it never stopped). Needs root, as ip netns does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.namespaces import Cable, OtherMachine, TwoRoads  # noqa: E402
from tests.support.page import Browser, Page  # noqa: E402
from tests.support.server import Server  # noqa: E402
from tests.support.speech import tone  # noqa: E402

PORT = 15_940
CHANGES = 5
KINDS = ("same", "later", "other", "new")
SETTLED_S = 4.0  # between two changes
WATCHED_S = 12.0
HEARD_WITHIN_S = 3.0  # later holes are the machine's
# Every datagram of the browsers' port, as "time way kind": kinds by first byte, RFC 7983.
SNIFFER = f"""
import socket, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("ready", flush=True)
while True:
    data, about = link.recvfrom(2048)
    if about[1] != 0x800 or data[9] != 17:
        continue
    udp = data[(data[0] & 15) * 4:]
    source, target, first, second = udp[0] << 8 | udp[1], udp[2] << 8 | udp[3], udp[8], udp[9] & 127
    if {PORT + 4} not in (source, target) or len(udp) < 12:
        continue
    way = "up" if target == {PORT + 4} else "down"
    kind = "stun" if first < 4 else "dtls" if first < 64 else "rtcp" if 64 <= second < 96 else "rtp"
    print(time.monotonic(), way, kind, socket.inet_ntoa(data[12:16] if way == "up" else data[16:20]), flush=True)
"""
# When the call plays something, wall clock in s, every 10 ms.
EAR = """
(() => {
  const phone = document.querySelector("phone-app").phone;
  const context = new AudioContext();
  let stream = null, analyser = null;
  window.ear = [];
  window.told = [];
  const now = () => (performance.timeOrigin + performance.now()) / 1000;
  setInterval(() => {
    const call = phone.current;
    if (!call) return;
    const state = `${call.network} ${call.peer?.connectionState} ${phone.line.state}`;
    if (told.at(-1)?.[1] !== state) told.push([now(), state]);
    if (call.remoteAudio && call.remoteAudio !== stream) {
      stream = call.remoteAudio;
      analyser = context.createAnalyser();
      analyser.fftSize = 512;
      context.createMediaStreamSource(stream).connect(analyser);
    }
    if (!analyser) return;
    const block = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(block);
    if (Math.max(...block) > 0.02) ear.push(now());
  }, 10);
})()
"""

# When the longest silence after that moment ends, 0: there is none. The jitter buffer plays what it has for a while.
HEARD_AGAIN = """
(() => {
  const times = ear.filter((at) => at > %f && at < %f);
  let [longest, end] = [0.1, 0];
  times.forEach((at, i) => {
    const hole = at - (times[i - 1] ?? at);
    if (hole > longest) [longest, end] = [hole, at];
  });
  return times.length > 50 ? end : null;
})()
"""


class Listener:
    def __init__(self, machine: OtherMachine) -> None:
        self._process = subprocess.Popen(
            [*machine.prefix, sys.executable, "-c", SNIFFER], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.seen: list[tuple[float, str, str, str]] = []
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, way, kind, host = line.split()
            self.seen.append((float(at), way, kind, host))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def resumed_ms(self, way: str, since: float) -> float | None:
        """From `since` to the first of three packets of sound in a row that come closer than 100 ms."""
        times = [at for at, its, kind, _ in self.seen if its == way and kind == "rtp" and at >= since]
        for first, _, third in zip(times, times[1:], times[2:], strict=False):
            if third - first < 0.1:
                return (first - since) * 1000
        return None


async def change(kind: str, road: TwoRoads, on: Cable, other: Cable) -> tuple[float, Cable]:
    """Monotonic seconds when there is a way again, and the card that has it."""
    if kind in ("same", "later"):
        road.leave(on)
        await asyncio.sleep(0.2 if kind == "same" else 3.0)
        road.join(on)
        return time.monotonic(), on
    road.leave(on)
    if kind == "new":
        road.join(other)
    return time.monotonic(), other


async def one(kind: str, road: TwoRoads, page: Page, listener: Listener, on: Cable, verbose: bool) -> dict[str, Any]:
    other = next(cable for cable in road.cables if cable is not on)
    (road.join if kind == "other" else road.leave)(other)
    await asyncio.sleep(SETTLED_S)
    before = await page.evaluate("document.querySelector('phone-app').phone.current.id")
    since, now_on = await change(kind, road, on, other)
    wall = time.time() - time.monotonic()
    await asyncio.sleep(WATCHED_S)
    heard = await page.evaluate(HEARD_AGAIN % (since + wall, since + wall + HEARD_WITHIN_S))
    after = await page.evaluate("document.querySelector('phone-app').phone.current?.id ?? null")
    if verbose:
        await tell(page, listener, since, wall)
    return {
        "up_ms": listener.resumed_ms("up", since),
        "down_ms": listener.resumed_ms("down", since),
        "heard_ms": None if heard is None else (heard - since - wall) * 1000 if heard else 0.0,
        "same_call": before == after,
        "on": now_on,
    }


async def tell(page: Page, listener: Listener, since: float, wall: float) -> None:
    times = [(at - since - wall) * 1000 for at in await page.evaluate(f"ear.filter((at) => at > {since + wall - 4})")]
    print("      silent", [f"{a:.0f} to {b:.0f}" for a, b in itertools.pairwise(times) if b - a > 80])
    for at, state in await page.evaluate(f"told.filter(([at]) => at > {since + wall - 1})"):
        print(f"      {(at - since - wall) * 1000:8.0f} ms  {state}")
    last = None
    for at, way, kind, host in listener.seen:
        if (
            at > since - 0.05
            and (way, kind, host) != last
            and kind != "rtcp"
            and (kind != "rtp" or last is None or last[1] != "rtp" or last[2] != host)
        ):
            print(f"      {(at - since) * 1000:8.0f} ms  {way} {kind} {host}")
            last = (way, kind, host)
        if at > since + 8:
            break


async def measure(kind: str, count: int, folder: Path, verbose: bool) -> list[dict[str, Any]]:
    found = []
    with OtherMachine() as machine:
        road = TwoRoads(machine)
        server = Server(
            folder / "server",
            PORT,
            users={"ann": "a long enough password"},
            rtp_ports="28800-28831",
            max_calls=4,
            host="0.0.0.0",
            web_host=road.host,
            prefix=machine.prefix,
        )
        await server.start()
        listener = Listener(machine)
        collecting = asyncio.create_task(asyncio.to_thread(listener.collect))
        browser = Browser(folder / "browser", tone(folder / "tone.wav", 440, 10.0, 48_000))
        await browser.start()
        try:
            page = await browser.open(f"https://{road.host}:{PORT + 2}/phone")
            await page.sign_in("ann", "a long enough password")
            # A tone that never changes is noise to what cleans up the microphone.
            await page.evaluate("localStorage.setItem('phone.devices', JSON.stringify({ cleanUp: false }))")
            await page.dial("603")
            await page.until("document.querySelector('phone-app').phone.current?.state === 'talking'")
            await page.evaluate(EAR)
            on = road.cables[0]
            for number in range(count):
                result = await one(kind, road, page, listener, on, verbose)
                on = result.pop("on")
                found.append(result)
                print(
                    f"{kind:6} {number + 1}:  " + "  ".join(f"{key} {_short(value)}" for key, value in result.items()),
                    flush=True,
                )
            if verbose:
                print(await page.complaints())
        finally:
            await browser.stop()
            await server.stop()
            listener.stop()
            await collecting
    return found


def _short(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=CHANGES, help="changes of each kind")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("-v", action="store_true", help="what happened when")
    chosen = parser.parse_args()
    record: dict[str, Any] = {}
    for kind in chosen.kind or KINDS:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(kind, chosen.n, Path(folder), chosen.v))
        for key in ("up_ms", "down_ms", "heard_ms"):
            values = [each[key] for each in found]
            whole = [value for value in values if value is not None]
            record[f"{kind}_{key}"] = [None if value is None else round(value) for value in values]
            if whole:
                middle, worst = statistics.median(whole), max(whole)
                print(f"{kind:6} {key:9} median {middle:6.0f}  worst {worst:6.0f}  of {len(whole)}/{len(values)}")
        record[f"{kind}_same_call"] = all(each["same_call"] for each in found)
    if chosen.record:
        append("network_change", record)


if __name__ == "__main__":
    main()
