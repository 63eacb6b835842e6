"""A room with three Chromiums on the phone page, each with a camera: who sees whom, counted by the browsers themselves.

    python benchmarks/room.py                      prints the frames of every sender at every receiver
    python benchmarks/room.py --record             also appends a line to benchmarks/history/room.jsonl
    python benchmarks/room.py --pictures FOLDER    also keeps what the first page looks like, at two widths

Three processes, three fake cameras, one server, one machine, loopback. A sender is told from another by the name that
the page writes under the picture; frames are `framesDecoded` of getStats() for the track which that picture plays. It
fails (exit 1) when a member does not see two others or a picture stands still.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.page import Browser, Page  # noqa: E402
from tests.support.server import Server  # noqa: E402
from tests.support.speech import tone  # noqa: E402

PORT = 15_920
USERS = ("ann", "bob", "vera")
WATCHED_S = 10.0
NARROW = (390, 844)
WIDE = (1280, 800)
TALKING = "document.querySelector('phone-app').phone.current?.state === 'talking'"
PLAYING = """
[...document.querySelectorAll(".tile:not(.self-view) video")].filter((it) => it.videoWidth > 0).length === 2
"""
SEEN = """
(async () => {
  const call = document.querySelector("phone-app").phone.current;
  const all = [...(await call.peer.getStats()).values()];
  const inbound = all.filter((it) => it.type === "inbound-rtp" && it.kind === "video");
  const seen = {};
  for (const tile of call.tracks.tiles.values()) {
    const person = call.room.participants.find((one) => one.id === tile.participant);
    const stats = inbound.find((it) => it.trackIdentifier === tile.stream.getVideoTracks()[0]?.id);
    seen[person.number] = { frames: stats?.framesDecoded ?? 0, width: stats?.frameWidth ?? 0 };
  }
  return seen;
})()
"""


async def _joined(browser: Browser, user: str) -> Page:
    page = await browser.open(f"https://127.0.0.1:{PORT + 2}/phone")
    await page.sign_in(user, f"of-{user}")
    await page.dial("700")
    await page.until(TALKING, 30)
    return page


async def _pictures(page: Page, folder: Path | None, name: str) -> int:
    """Pixels by which the page is too wide for the phone's screen; the pictures, where they are wanted."""
    over = 0
    for width, height in (WIDE, NARROW):
        await page.size(width, height, mobile=width < 600)
        await asyncio.sleep(0.5)  # the frames that are in hand are drawn for the old size
        over = max(over, await page.widest())
        if folder is not None:
            await page.picture(folder / f"{name}-{width}.png")
    await page.size(*WIDE)
    return over


async def measure(folder: Path, pictures: Path | None) -> dict[str, Any]:
    server = Server(
        folder / "server", PORT, {user: f"of-{user}" for user in USERS}, rtp_ports="29200-29399", max_calls=20
    )
    browsers = [Browser(folder / user, tone(folder / f"{user}.wav", 500.0, 5, 48_000)) for user in USERS]
    try:
        await server.start()
        await asyncio.gather(*(browser.start() for browser in browsers))
        pages = [await _joined(browser, user) for browser, user in zip(browsers, USERS, strict=True)]
        over = await _pictures(pages[0], pictures, "voice")
        for page in pages:
            await page.click("Start video")
        for page in pages:
            await page.until(PLAYING, 30)
        before = [await page.evaluate(SEEN) for page in pages]
        await asyncio.sleep(WATCHED_S)
        after = [await page.evaluate(SEEN) for page in pages]
        over = max(over, await _pictures(pages[0], pictures, "video"))
        await pages[0].click("Hang up")
        await pages[0].until_text("Call ended")
        over = max(over, await _pictures(pages[0], pictures, "ended"))
        frames = {
            receiver: {sender: now["frames"] - was.get(sender, now)["frames"] for sender, now in later.items()}
            for receiver, was, later in zip(USERS, before, after, strict=True)
        }
        complaints = [line for page in pages for line in await page.complaints()]
        return {"frames": frames, "too_wide_px": over, "complaints": complaints}
    finally:
        for browser in browsers:
            await browser.stop()
        await server.stop(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="append the figures to benchmarks/history/room.jsonl")
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), arguments.pictures))
    frames: dict[str, dict[str, int]] = found["frames"]
    for receiver, seen in frames.items():
        print(
            receiver, "sees", ", ".join(f"{sender} {count / WATCHED_S:.1f} frames/s" for sender, count in seen.items())
        )
    rates = [count / WATCHED_S for seen in frames.values() for count in seen.values()]
    everyone = all(set(seen) == set(USERS) - {receiver} for receiver, seen in frames.items())
    figures = {"slowest_fps": min(rates, default=0.0), "fastest_fps": max(rates, default=0.0), "pictures": len(rates)}
    print(figures, "too wide by", found["too_wide_px"], "px;", found["complaints"] or "no complaint of a page")
    if arguments.record:
        append(
            "room",
            {
                "figures": figures,
            },
        )
    if not everyone or min(rates, default=0.0) <= 0 or found["too_wide_px"] > 0 or found["complaints"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
