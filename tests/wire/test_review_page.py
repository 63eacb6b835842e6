"""The review page on the wire: a real call is found by its number, heard by party, and seen; others get nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mediaserver.cli_common import load_settings
from mediaserver.recording.keys import load_ring, read_key
from mediaserver.recording.timeline import survey
from tests.support.film import Photographer, write_sealed_pictures
from tests.support.page import Browser, Page
from tests.support.server import Server
from tests.support.speech import tone
from tests.wire.conftest import Phones
from tests.wire.test_recording import talk_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]
SECTIONS = {"quality": "interval_s = 1", "recording": 'consent_policy = "announce-and-supervise"'}
PASSWORD = "a long enough password"
FRAMES = 45  # three seconds
VIDEOS = "[...document.querySelectorAll('.pictures video')]"
APP = "document.querySelector('qa-app')"
# The level and the strongest frequency of what leaves the page for the loudspeaker, decoded, over half a second.
HEARD = """
(async () => {
  const { player } = document.querySelector("qa-app");
  player.meter.fftSize = 8192;
  await new Promise((done) => setTimeout(done, 500));
  const spectrum = new Float32Array(player.meter.frequencyBinCount);
  player.meter.getFloatFrequencyData(spectrum);
  const bin = (hz) => Math.round(hz * player.meter.fftSize / player.context.sampleRate);
  return { rms: player.level(), ann: spectrum[bin(500)], bob: spectrum[bin(800)] };
})()
"""


EAR = f"{APP}.ear.peer.getStats().then((found) => [...found.values()])"
# What a listener hears of a running call: 500 Hz is ann, 800 Hz bob.
OVERHEARD = """
(async () => {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(document.querySelector("qa-app").ear.audio.srcObject).connect(analyser);
  await new Promise((done) => setTimeout(done, 500));
  const spectrum = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(spectrum);
  const bin = (hz) => Math.round(hz * analyser.fftSize / context.sampleRate);
  const found = { ann: spectrum[bin(500)], bob: spectrum[bin(800)] };
  await context.close();
  return found;
})()
"""


async def reviewer(server: Server, name: str, *options: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(server.command), "reviewers", "add", name, *options, "--password-stdin", "--config", str(server.config),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate(PASSWORD.encode() + b"\n")
    assert process.returncode == 0, out


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    made = Browser(folder, tone(folder / "tone.wav", 700.0, 5, 48_000))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def sign_in(page: Page, name: str) -> None:
    await page.until("document.querySelector('input[name=user]')")
    await page.tab_to("it.name === 'user'")
    await page.press(*name, "Tab", *PASSWORD, "Enter")
    await page.until(f"{APP}.me?.name === {json.dumps(name)}")


async def faultless(page: Page) -> None:
    assert await page.violations() == []
    assert await page.complaints() == []


async def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("PICTURES"):
        await page.picture(Path(folder) / f"{name}.png")


async def heard(page: Page, **wanted: bool) -> None:
    """Waits until exactly these parties sound: 500 Hz is ann, 800 Hz bob."""
    got: dict[str, Any] = {}
    for _ in range(12):
        got = await page.evaluate(HEARD)
        if all((got[name] > -45) == sounds for name, sounds in wanted.items()):
            return
    raise AssertionError(f"wanted {wanted}, heard {got}")


async def listen(page: Page) -> None:
    """One click, and both parties are heard while they talk; nothing is sent."""
    await page.until("document.querySelector('.tabs')")
    await page.click("Live")
    await page.until(f"{APP}.live[0]?.deaf === ''")
    await page.click("Listen")
    await page.until(f"{APP}.ear.state === 'hearing'")
    await page.until_text("nobody hears you")
    await page.until(f"{EAR}.then((all) => all.some((it) => it.type === 'inbound-rtp' && it.packetsReceived > 100))")
    tones: dict[str, Any] = {}
    for _ in range(12):
        tones = await page.evaluate(OVERHEARD)
        if tones["ann"] > -45 and tones["bob"] > -45:
            break
    else:
        raise AssertionError(f"both should be heard: {tones}")
    assert not await page.evaluate(f"{EAR}.then((all) => all.some((it) => it.type === 'outbound-rtp'))")
    await faultless(page)
    await picture(page, "listening")
    assert [one["who"] for one in await log_of(page, "listens live")] == ["kate"]


async def show(server: Server) -> None:
    """A camera of ann and a screen of bob beside the newest recording: journals as the recorder leaves them."""
    settings = load_settings(server.config)
    ring = load_ring(settings.recording, settings.server.data_dir)
    found = (await server.recordings())[0]
    folder = next(settings.server.data_dir.glob(f"**/{found['id']}"))
    values = read_key(folder / "1.journal")
    assert values is not None
    start_ns = survey(folder / "1.journal", ring.unwrap(values)).opened_ns
    for leg, picture, owner in (("1", "camera", 3), ("2", "screen", 5)):
        packets = Photographer(owner=owner, frames=FRAMES, start_ns=start_ns, keys=frozenset({0, 15, 30})).packets()
        write_sealed_pictures(
            folder, packets, leg, picture,
            opened_ns=start_ns, closed_ns=packets[-1][0], ring=ring, recording_id=found["id"],
        )  # fmt: skip


async def watch(page: Page) -> None:
    """Both pictures run with the sound, stand still with it, and jump with it."""
    await page.until(f"{VIDEOS}.length === 2 && {VIDEOS}.every((it) => it.readyState >= 2)")
    await page.press(" ")
    await page.until(f"{VIDEOS}.every((it) => !it.paused && it.currentTime > 0.2)")
    await page.until(f"{VIDEOS}.every((it) => it.getVideoPlaybackQuality().totalVideoFrames > 2)")
    await picture(page, "watching")
    await page.press(" ")
    await page.until(f"{VIDEOS}.every((it) => it.paused)")
    await page.evaluate(f"{APP}.player.seek(2.5)")
    await page.until(f"{VIDEOS}.every((it) => !it.seeking && Math.abs(it.currentTime - 2.5) < 0.05)")
    assert await page.evaluate(f"{VIDEOS}.every((it) => it.muted && it.videoWidth > 0)")
    await faultless(page)
    await page.click("Screen: called party")
    await page.until(f"{VIDEOS}.length === 1")
    await page.evaluate("document.activeElement.blur()")
    watched = [one["detail"] for one in await log_of(page, "watches")]
    assert {(one["party"], one["picture"]) for one in watched} == {("1", "camera"), ("2", "screen")}


async def judge(page: Page) -> None:
    """By keyboard: each question by its arrow keys, the first answer taken."""
    await page.evaluate("document.querySelector('details.card').open = true")
    questions = await page.evaluate("document.querySelectorAll('.question').length")
    for number in range(questions):
        await page.evaluate(f"document.querySelectorAll('.question')[{number}].querySelector('input').focus()")
        await page.press(" ")
    await page.until("document.querySelector('.card .total').innerText === '100'")
    await faultless(page)
    await picture(page, "card")
    await page.click("Keep the score")
    await page.until(f"{APP}.open.reviews?.mean === 100")
    await page.evaluate("document.activeElement.blur()")


async def draw_all(page: Page) -> None:
    """Makes a rule by keyboard, and draws by it."""
    await page.until(f"{APP}.sampling.reviewers?.length === 2")
    await page.evaluate("document.querySelector('.rule-form input[name=name]').focus()")
    await page.press(*"every call")
    await page.evaluate("document.querySelector('.rule-form input[name=reviewer]').focus()")
    await page.press(" ")
    await page.click("Make rule")
    await page.until(f"{APP}.sampling.rules.length === 1")
    await page.click("Draw now")
    await page.until(f"{APP}.told === '0 calls drawn'")


async def answer_as_agent(page: Page) -> None:
    """Reads the score of his call, by keyboard, and disputes it."""
    await page.until_text("not answered")
    await page.evaluate("document.querySelector('.judged summary').focus()")
    await page.press("Enter")
    await page.evaluate("document.querySelector('.answer input[value=dispute]').focus()")
    await page.press(" ")
    await page.evaluate("document.querySelector('.answer textarea').focus()")
    await page.press(*"I did greet")
    await faultless(page)
    await picture(page, "agent")
    await page.click("Send answer")
    await page.until(f"{APP}.mine[0].answer?.verdict === 'dispute'")
    assert await page.evaluate("fetch('/api/v1/review/calls').then((it) => it.status)") == 403


async def log_of(page: Page, what: str) -> list[dict[str, Any]]:
    entries = await page.evaluate("fetch('/api/v1/review/log').then((it) => it.json()).then((it) => it.entries)")
    return [one for one in entries if one["what"] == what]


async def test_a_call_is_found_heard_and_explained_and_only_by_those_who_may(
    phones: Phones, server: Server, browser: Browser
) -> None:
    for name, options in (
        ("kate", ("--role", "admin")),
        ("quin", ("--role", "qa", "--queue", "somewhere-else")),
    ):
        await reviewer(server, name, *options)
    code, text, err = await server.cli("reviewers", "scorecard", "basic", "config/examples/scorecard.toml")
    assert code == 0, text + err
    url = f"https://{server.host}:{server.base_port + 2}/qa"
    caller, callee, _ = await talk_until(phones, "2bob", 2)
    page = await browser.open(url)
    await page.until_text("Find a call")
    await faultless(page)
    await picture(page, "sign-in")
    await sign_in(page, "kate")
    await listen(page)
    await caller.do("hangup")
    await callee.wait_for("closed")
    await page.until(f"{APP}.ear.call === null")
    await page.click("Calls")
    await show(server)
    # A call can be found some two seconds after its end.
    await page.until(f"{APP}.guarded(() => {APP}.search()).then(() => {APP}.calls.length)")
    await page.evaluate("document.activeElement.blur()")
    await page.press("/", *"2bob", "Enter")
    await page.until(f"{APP}.calls.length === 1 && {APP}.filters.number === '2bob'")
    await page.evaluate("document.activeElement.blur()")
    await page.press("j")
    await page.until(f"{APP}.open?.lanes && {APP}.player.state === 'ready'")
    await page.until_text("Recorded with permission")
    lanes = set(await page.evaluate(f"{APP}.open.entries.map((one) => one.lane)"))
    assert {"mos", "consent"} <= lanes
    assert await page.evaluate("document.querySelectorAll('.lane').length") >= 2
    await faultless(page)
    await watch(page)

    # In a loop: on a slow machine the checks would outlast six seconds of sound.
    await page.evaluate(f"{APP}.player.setLoop({{ from: 0, to: {APP}.open.call.length - 0.5 }})")
    await page.press(" ")
    await heard(page, ann=True, bob=True)
    await picture(page, "playing")
    await page.press("1")
    await heard(page, ann=False, bob=True)
    await page.press("1", "3")
    await heard(page, ann=True, bob=False)
    await page.press("3", ".", ".")
    assert await page.evaluate(f"[{APP}.player.audio.playbackRate, {APP}.player.audio.preservesPitch]") == [1.5, True]
    await heard(page, ann=True, bob=True)  # at the same 500 and 800 Hz: the pitch stays
    await page.press("0", " ")
    await page.evaluate(f"{APP}.player.setLoop(null)")
    length = await page.evaluate(f"{APP}.open.call.length")
    stretches: list[list[float]] = []
    for _ in range(100):
        stretches = [pair for one in await log_of(page, "played") for pair in one["detail"]["seconds"]]
        if sum(last - first for first, last in stretches) > 2.0:  # what was watched before is told before
            break
        await asyncio.sleep(0.1)
    assert min(first for first, _ in stretches) < 0.5
    assert max(last for _, last in stretches) <= length
    assert sum(last - first for first, last in stretches) > 2.0, stretches  # four checks of half a second each
    assert {one["who"] for one in await log_of(page, "sent")} == {"kate"}
    assert [one["who"] for one in await log_of(page, "listened live")] == ["kate"]

    await page.evaluate(f"{APP}.player.seek(2)")
    await page.press("c", *"<b>wrong</b> greeting")
    await page.click("Add")
    await page.until(f"{APP}.open.comments.length === 1")
    await page.evaluate("document.activeElement.blur()")
    await page.until_text("kate: <b>wrong</b> greeting")
    await picture(page, "call")
    await judge(page)
    await page.looks(dark=True)
    await faultless(page)
    await picture(page, "dark")
    await page.click("Русский")
    await page.until_text("Что произошло")
    await faultless(page)
    await picture(page, "ru")
    await page.click("English")
    await page.looks()
    await page.size(360, 740, mobile=True)
    wide = await page.evaluate(
        "[...document.querySelectorAll('*')].filter((it) => it.getBoundingClientRect().right > 361)"
        ".map((it) => it.outerHTML.slice(0, 90))"
    )
    assert await page.widest() <= 0, wide
    await picture(page, "narrow")
    await page.size(1280, 800)

    agent = await page.evaluate(f"{APP}.open.call.agent")
    await page.click("Make link")
    link = await page.until(f"{APP}.open.link?.url")
    call_id = await page.evaluate(f"{APP}.open.call.id")
    for tab in ("Sampling", "Assigned", "Calibration", "Reports", "Live", "Access log"):
        await page.click(tab)
        if tab == "Sampling":
            await draw_all(page)
        if tab == "Assigned":
            assert await page.evaluate(f"{APP}.assigned.length") == 0, "who has judged the call is not given it again"
        if tab == "Reports":
            await page.until(f"{APP}.reports.rows?.length === 1 && {APP}.reports.rows[0].mean === 100")
        await page.until(f"!{APP}.problem")
        await faultless(page)
        await picture(page, tab)

    await page.evaluate(f"{APP}.signOut()")
    await page.until("document.querySelector('input[name=user]')")
    stranger = f"fetch('/api/v1/review/calls/{call_id}/audio.wav').then((it) => it.status)"
    assert await page.evaluate(stranger) == 401
    await reviewer(server, agent, "--role", "agent")
    await sign_in(page, agent)
    await answer_as_agent(page)
    await page.evaluate(f"{APP}.signOut()")
    await page.until("document.querySelector('input[name=user]')")
    await sign_in(page, "quin")
    await page.until_text("No recorded calls")
    assert await page.evaluate(stranger) == 404
    await page.evaluate(f"{APP}.signOut()")
    await page.until("document.querySelector('input[name=user]')")
    guest = await browser.open(link)
    await guest.until(f"{APP}.open && {APP}.player.state === 'ready'")
    assert "share" not in await guest.evaluate("location.href")
    await guest.press(" ")
    await heard(guest, ann=True, bob=True)
    await faultless(guest)
    await picture(guest, "guest")
