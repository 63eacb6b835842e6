"""Two extensions and the server between them: hold, transfer, giving up, refusing, forking, pressing keys."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.support.listen import pesq_of_loop, read_wav, tone_levels_db
from tests.support.speech import speech, tone
from tests.wire.conftest import Phones

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_held_party_hears_music_and_after_resume_the_caller_again(phones: Phones) -> None:
    callee = await phones.pjsua("bob", "PCMU")
    caller = await phones.pjsua("ann", "PCMU", says=tone(phones.folder / "tone.wav", 900.0, 60, 16_000))
    await caller.dial(f"sip:bob@{phones.server.sip}")
    await caller.wait_for("state", text="CONFIRMED")
    await asyncio.sleep(3)
    await caller.do("hold")
    await asyncio.sleep(5)
    seen = len(caller.events)
    await caller.do("resume")
    await caller.wait_for("media", since=seen, status=1)
    await asyncio.sleep(4)
    await caller.do("hangup")
    await callee.wait_for("closed")
    rate, heard = read_wav(callee.heard)  # bob's recorder runs through: he did not hold
    halves = [heard[at : at + rate // 2] for at in range(0, len(heard) - rate // 2, rate // 2)]
    levels = [tone_levels_db(half, rate, (900.0,))[900.0] for half in halves]
    print([round(level) for level in levels])
    assert max(levels[1:5]) > -16, "the caller is heard before"
    assert max(levels[-4:]) > -16, "and after"
    held = [half for half, level in zip(halves, levels, strict=True) if level < -45]
    assert 6 <= len(held) <= 12, "about five seconds without the caller"
    music = [float(np.sqrt(np.mean(half**2))) for half in held[2:-2]]
    assert min(music) > 0.003, "music is played meanwhile"


async def test_blind_transfer_connects_the_transferee_and_frees_the_transferor(phones: Phones) -> None:
    caller = await phones.pjsua("ann", "PCMU", says=speech("ann", 16_000), loop=True)
    first = await phones.pjsua("bob", "PCMU")
    target = await phones.pjsua("vera", "PCMU", says=tone(phones.folder / "vera.wav", 600.0, 60, 16_000))
    await caller.dial(f"sip:bob@{phones.server.sip}")
    await caller.wait_for("state", text="CONFIRMED")
    await asyncio.sleep(2)
    await first.do("transfer", uri=f"sip:vera@{phones.server.sip}")
    await target.wait_for("state", text="CONFIRMED")
    await first.wait_for("transfer", status=200)
    await first.wait_for("closed")
    await asyncio.sleep(6)
    await caller.do("hangup")
    await target.wait_for("closed")
    rate, heard = read_wav(caller.heard)
    assert tone_levels_db(heard[-3 * rate : -rate], rate, (600.0,))[600.0] > -16
    # ann's file loops and the target came in somewhere in it.
    score = pesq_of_loop(speech("ann", 16_000), target.heard, seconds=5, wideband=False)
    print(f"the target hears the transferred party with PESQ {score:.2f}")
    assert score > 2.5  # 4.3 alone; a phone that stutters beside two other tests loses a whole point


async def test_attended_transfer_connects_the_two_who_were_talked_to_and_frees_the_transferor(phones: Phones) -> None:
    caller = await phones.pjsua("ann", "PCMU", loop=True)
    first = await phones.pjsua("bob", "PCMU", loop=True)
    target = await phones.pjsua("vera", "PCMU", loop=True)
    await caller.dial(f"sip:bob@{phones.server.sip}")
    await first.wait_for("state", text="CONFIRMED")
    await first.do("hold")
    await first.wait_for("media", status=2)  # held by himself
    seen = len(first.events)
    await first.dial(f"sip:vera@{phones.server.sip}")
    await first.wait_for("state", since=seen, text="CONFIRMED")
    await first.do("connect", call=0, **{"with": 1})
    await first.wait_for("transfer", status=200)
    await first.wait_for("closed")
    assert [event["type"] for event in (*caller.events, *target.events)].count("closed") == 0
    for phone in (caller, target):
        before = (await phone.stats())["received"]
        async with asyncio.timeout(5):
            while (await phone.stats())["received"] < before + 25:
                await asyncio.sleep(0.1)
    (call,) = await phones.server.calls()
    assert [leg["party"] for leg in call["legs"] if leg["state"] == "talking"] == ["ann", "vera"]
    await caller.do("hangup")
    await target.wait_for("closed")


async def test_a_caller_who_gives_up_stops_the_ringing(phones: Phones) -> None:
    callee = await phones.pjsua("bob", "PCMU", answer=180)
    caller = await phones.pjsua("ann", "PCMU")
    await caller.dial(f"sip:bob@{phones.server.sip}")
    await callee.wait_for("incoming")
    await caller.wait_for("state", text="EARLY")
    await caller.do("hangup")
    await callee.wait_for("closed")
    assert (await caller.wait_for("closed"))["status"] == 487
    assert await phones.server.calls() == []


@pytest.mark.parametrize(("answer", "status"), [(486, 486), (603, 603)])
async def test_the_caller_learns_why_he_was_refused(phones: Phones, answer: int, status: int) -> None:
    await phones.pjsua("bob", "PCMU", answer=answer)
    caller = await phones.pjsua("ann", "PCMU")
    await caller.dial(f"sip:bob@{phones.server.sip}")
    assert (await caller.wait_for("closed"))["status"] == status


@pytest.mark.parametrize(("number", "status"), [("nobody-here", 404), ("u23", 480)])
async def test_a_number_nobody_answers_has_its_proper_status(phones: Phones, number: str, status: int) -> None:
    caller = await phones.pjsua("ann", "PCMU")
    await caller.dial(f"sip:{number}@{phones.server.sip}")
    assert (await caller.wait_for("closed"))["status"] == status


async def test_a_call_rings_all_contacts_of_a_user_and_the_first_to_answer_wins(phones: Phones) -> None:
    slow = await phones.pjsua("bob", "PCMU", answer=180)
    quick = await phones.pjsua("bob", "PCMU", answer=200)
    caller = await phones.pjsua("ann", "PCMU")
    await caller.dial(f"sip:bob@{phones.server.sip}")
    await quick.wait_for("state", text="CONFIRMED")
    await slow.wait_for("incoming")
    assert (await slow.wait_for("closed"))["status"] == 487
    told = (slow.folder / "pjsip.log").read_text(errors="replace")
    assert 'Reason: SIP;cause=200;text="Call completed elsewhere"' in told, "a phone shows no missed call then"
    await asyncio.sleep(1)
    await caller.do("hangup")
    await quick.wait_for("closed")


@pytest.mark.parametrize("way", ["digits", "info_digit"])
async def test_digits_cross_the_server_once_each(phones: Phones, way: str) -> None:
    callee = await phones.pjsua("bob", "PCMU")
    caller = await phones.pjsua("ann", "PCMU")
    await caller.dial(f"sip:bob@{phones.server.sip}")
    await callee.wait_for("state", text="CONFIRMED")
    await asyncio.sleep(1)
    for digit in "1159#":
        await caller.do(way, digits=digit)
        await asyncio.sleep(0.6)
    await asyncio.sleep(1)
    assert "".join(event["digit"] for event in callee.events if event["type"] == "digit") == "1159#"
    await caller.do("hangup")
