"""The phone in a browser as people use it: Debian's Chromium on the built page, by mouse and by keyboard alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.page import Browser, Page
from tests.support.server import Server
from tests.support.speech import tone
from tests.wire.conftest import USERS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]
ROUTES = """
[[route]]
name = "asked"
number = "5bob"
user = "bob"
record = true
consent = "announce-and-press"
"""
SECTIONS = {"quality": "interval_s = 1"}
TONE_HZ = 700.0  # the microphone of every tab
PHONE = "document.querySelector('phone-app').phone"


def _url(server: Server, path: str = "/phone") -> str:
    return f"https://{server.host}:{server.base_port + 2}{path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    folder = tmp_path_factory.mktemp("page")
    made = Browser(folder, tone(folder / "tone.wav", TONE_HZ, 5, 48_000))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def _open(browser: Browser, server: Server) -> Page:
    """The page with noise and echo removal off: to it a steady tone that comes back is both."""
    page = await browser.open(_url(server))
    await page.evaluate("localStorage.setItem('phone.devices', JSON.stringify({ cleanUp: false }))")
    return page


async def _hears_the_tone(page: Page, timeout_s: float = 12.0) -> None:
    end = time.monotonic() + timeout_s
    while True:
        heard = await page.heard()
        if heard["rms"] > 0.01 and (heard["peak_hz"] is None or abs(heard["peak_hz"] - TONE_HZ) < 20):
            return
        assert time.monotonic() < end, heard


async def _faultless(page: Page) -> None:
    """axe-core finds nothing, the page complained of nothing, and it fits a narrow screen."""
    assert await page.violations() == []
    assert await page.complaints() == []
    await page.size(360, 740, mobile=True)
    assert await page.widest() <= 0
    await page.size(1280, 800)


async def test_by_keyboard_alone_one_signs_in_calls_hears_oneself_and_hangs_up(
    browser: Browser, server: Server
) -> None:
    page = await _open(browser, server)
    await _faultless(page)
    await page.tab_to("it.name === 'user'")
    await page.press(*"ann", "Tab", *"wrong", "Enter")
    await page.until_text("User or password is wrong")
    await page.tab_to("it.name === 'password'", back=True)
    for _ in range(5):
        await page.press("Backspace")
    await page.press(*USERS["ann"], "Enter")
    await page.until_text("You can be called as ann")
    await _faultless(page)
    kept = await page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage })")
    assert '\\"ha1\\"' in kept
    assert USERS["ann"] not in kept  # never a password
    await page.tab_to("it.id === 'number'")
    await page.press(*"603", "Enter")
    await page.until(f"{PHONE}.current?.state === 'talking'")
    await _hears_the_tone(page)
    await page.press("m")
    await page.until_text("Your microphone is off")
    await page.press("m")
    await page.until(f"{PHONE}.current.estimate.heard > 1 && {PHONE}.current.estimate.sent > 1")
    await page.tab_to("it.classList.contains('quality')")
    await page.press("Enter")
    await page.until_text("MOS, 1 bad to")
    await _faultless(page)
    await page.tab_to("it.tagName === 'BUTTON' && it.innerText.includes('Hang up')")
    await page.press("Enter")
    await page.until_text("Call ended")
    await _faultless(page)
    await page.until_text("Outgoing")  # the keypad and the list are back
    await page.evaluate("window.former = true, location.reload()")
    await page.until("!window.former && document.querySelector('#number')")
    await page.until_text("You can be called as ann")  # signed in still, by what was kept for the tab
    await page.click("Settings")
    await page.click("Test the microphone")
    await page.until("Number(document.querySelector('.settings .meter')?.getAttribute('aria-valuenow')) > 5")
    await page.click("Try the camera")
    await page.until("document.querySelector('video.preview')?.videoWidth > 0")
    await _faultless(page)
    await page.click("Русский")
    await page.until_text("Выключить камеру")
    await page.click("English")
    await page.click("Sign out")
    await page.until("document.querySelector('input[name=user]')")
    assert await page.evaluate("JSON.stringify(sessionStorage)") == "{}"


async def test_two_pages_call_each_other_hold_and_hang_up(browser: Browser, server: Server) -> None:
    bob = await _open(browser, server)
    vera = await _open(browser, server)
    await bob.sign_in("bob", USERS["bob"])
    await vera.sign_in("vera", USERS["vera"])
    await vera.dial("bob")
    await bob.until("document.querySelector('.incoming')")
    assert "vera is calling" in str(await bob.evaluate("document.title"))
    assert await bob.evaluate("document.activeElement.classList.contains('incoming')")
    await _faultless(bob)
    await vera.until_text("Ringing…")
    await bob.press("Enter", alt=True)
    for page in (bob, vera):
        await page.until(f"{PHONE}.current?.state === 'talking'")
    await asyncio.gather(_hears_the_tone(bob), _hears_the_tone(vera))
    await vera.click("Hold")
    await vera.until_text("On hold")
    await bob.until(f"{PHONE}.current.heldByOther")
    await vera.click("Resume")
    await vera.until(f"!{PHONE}.current.held")
    await bob.until(f"!{PHONE}.current.heldByOther")
    await _hears_the_tone(bob)
    await vera.evaluate(f"window.old = {PHONE}.line.wire.socket, old.close()")  # the network is gone for a moment
    await vera.until(f"{PHONE}.line.wire.socket !== old && {PHONE}.line.state === 'ready'")
    await vera.until(f"{PHONE}.current.network === 'ok'")
    await asyncio.gather(_hears_the_tone(bob), _hears_the_tone(vera))
    await vera.click("Chat")
    await vera.until("document.querySelector('#chat-text')")
    await vera.evaluate("document.querySelector('#chat-text').value = 'Привет, Bob', 0")
    await vera.click("Send")
    await bob.until(f"{PHONE}.current.unread === 1")
    await bob.click("Chat")
    await bob.until_text("Привет, Bob")
    await _faultless(bob)
    await vera.click("Start video")
    await bob.until("[...document.querySelectorAll('.tile video')].some((it) => it.videoWidth > 0)")  # hers
    await bob.click("Start video")
    await vera.until("document.querySelectorAll('.tile video').length === 2")  # his, and her own
    await vera.until("[...document.querySelectorAll('.tile video')].every((it) => it.videoWidth > 0)")
    await _faultless(vera)
    await asyncio.gather(_hears_the_tone(bob), _hears_the_tone(vera))  # beside the pictures
    await vera.click("Stop video")
    await bob.until("document.querySelectorAll('.tile video').length === 1")
    await bob.click("Quality")
    await bob.until_text("Measured by the server")
    await bob.click("Mute")
    for _ in range(20):
        if (heard := await vera.heard())["rms"] < 0.001:
            break
    assert heard["rms"] < 0.001
    await vera.click("Hang up")
    await bob.until_text("Call ended")
    assert await bob.evaluate(f"{PHONE}.log[0].way") == "in"
    assert await bob.complaints() == await vera.complaints() == []


async def test_by_keyboard_a_call_is_transferred_after_talking_to_whom_it_goes(
    browser: Browser, server: Server
) -> None:
    bob, vera = browser.pages[-2:]
    await vera.until("document.activeElement.id === 'number'")  # the keypad is back, and the keyboard is in its field
    await vera.press(*"bob", "Enter")
    await bob.until("document.querySelector('.incoming')")
    await bob.press("Enter", alt=True)
    await vera.until(f"{PHONE}.current?.state === 'talking'")
    ann = await _open(browser, server)
    await ann.sign_in("ann", USERS["ann"])
    await vera.click("Transfer")
    await vera.tab_to("it.name === 'to'")
    await vera.press(*"ann")
    await vera.tab_to("it.innerText === 'Talk first, then transfer'")
    await vera.press("Enter")
    await vera.until_text("bob waits on hold.")
    await ann.until("document.querySelector('.incoming')")
    await ann.press("Enter", alt=True)
    await vera.until_text("Connect bob with ann")
    await _faultless(vera)
    await vera.tab_to("it.innerText.trim() === 'Connect bob with ann'")
    await vera.press("Enter")
    await vera.until(f"{PHONE}.calls.every((call) => call.state === 'ended')")
    await vera.until_text("Transferred")
    assert await vera.evaluate("document.querySelector('[role=status]').innerText") == "Call ended: bob. Transferred"
    await bob.until(f"{PHONE}.current?.party === 'ann'")  # each is told whom it talks to now
    await ann.until(f"{PHONE}.current?.party === 'bob'")
    await asyncio.gather(_hears_the_tone(bob), _hears_the_tone(ann))
    await bob.click("Share screen")
    await ann.until("document.querySelector('.slides video')?.videoWidth > 0")
    await bob.click("Hang up")
    await ann.until_text("Call ended")
    assert await ann.complaints() == await vera.complaints() == []
    await ann.click("Close")
    await ann.click("Settings")
    await ann.click("Sign out")
    browser.pages.remove(ann)  # the two others go on


async def test_a_call_that_is_not_taken_says_why_and_the_other_side_finds_it_missed(
    browser: Browser, server: Server
) -> None:
    bob, vera = browser.pages[-2:]
    await vera.until("document.querySelector('#number')")
    await vera.dial("bob")
    await bob.until("document.querySelector('.incoming')")
    await bob.click("Reject")
    await vera.until(f"{PHONE}.current?.cause === 'Busy'")
    await vera.until_text("The line is busy.")
    await bob.until_text("Missed")
    await vera.dial("nobody-of-that-name")
    await vera.until_text("There is no such number.")


async def test_who_is_to_be_recorded_is_asked_on_the_page_and_each_answers_for_himself(
    browser: Browser, server: Server
) -> None:
    bob, vera = browser.pages[-2:]
    await vera.until("document.querySelector('#number')")
    await vera.dial("5bob")
    await vera.until_text("A recording notice is being played")
    await vera.until_text("This call is to be recorded")
    await _faultless(vera)
    await vera.click("I agree")
    await bob.until("document.querySelector('.incoming')")
    await bob.click("Answer")
    await bob.until_text("This call is to be recorded")
    await bob.click("I refuse")
    await vera.until_text("This call is being recorded.")
    await bob.until_text("You refused: you are not recorded.")
    assert "being recorded" not in await bob.text()
    await vera.click("Pause recording")
    await vera.until_text("Recording paused")
    await vera.click("Go on recording")
    await vera.until_text("This call is being recorded.")
    await vera.click("End recording")
    await vera.until("[...document.querySelectorAll('.control')].some((one) => one.textContent.trim() === 'Record')")
    assert "being recorded" not in await vera.text()
    await vera.click("Hang up")
    await bob.until_text("Call ended")


async def test_the_desk_is_faultless_too(browser: Browser, server: Server) -> None:
    page = await browser.open(_url(server, "/"))
    await page.until("document.querySelector('#sign-in:not([hidden])')")
    await _faultless(page)
