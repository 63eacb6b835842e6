"""What a newcomer does: register, dial 600, hear himself, see the call and its MOS, leave a message."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.support.listen import read_wav, tone_levels_db, words_fit
from tests.support.speech import speech, tone
from tests.wire.conftest import Phones

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECTIONS = {"quality": "interval_s = 2"}


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_phone_hears_itself_at_600_over_each_transport(phones: Phones, transport: str, tmp_path: Path) -> None:
    says = tone(tmp_path / "says.wav", 700.0, 20, 16_000)
    phone = await phones.pjsua("ann", "PCMU", says=says, transport=transport, srtp=transport == "tls")
    await phone.dial(f"sip:600@{phones.server.sip if transport != 'tls' else phones.server.tls}")
    await phone.wait_for("state", text="CONFIRMED")
    await asyncio.sleep(10)
    statistics = await phone.stats()
    await phone.do("hangup")
    await phone.wait_for("closed")
    rate, heard = read_wav(phone.heard)
    assert tone_levels_db(heard[-2 * rate : -rate // 2], rate, (700.0,))[700.0] > -16
    assert statistics["lost"] == 0
    assert statistics["discarded"] == 0


async def test_the_running_call_shows_its_mos(phones: Phones) -> None:
    phone = await phones.baresip("ann", "PCMU")
    await phone.dial(f"sip:600@{phones.server.sip}")
    await phone.wait_for("CALL_ESTABLISHED")
    await asyncio.sleep(8)
    (call,) = await phones.server.calls()
    assert call["program"] == "echo"
    (leg,) = call["legs"]
    assert 4.0 < leg["mos_received"] <= 4.5
    assert leg["mos_scale"]
    code, out, err = await phones.server.cli("calls", "hangup", call["id"])
    assert code == 0, out + err
    await phone.wait_for("CALL_CLOSED")
    assert await phones.server.calls() == []


async def test_601_speaks_russian_and_english(phones: Phones) -> None:
    phone = await phones.pjsua("ann", "PCMU")
    await phone.dial(f"sip:601@{phones.server.sip}")
    await phone.wait_for("state", text="CONFIRMED")
    await phone.wait_for("closed", timeout_s=60)
    rate, heard = read_wav(phone.heard)
    loud = [float(np.sqrt(np.mean(heard[at : at + rate] ** 2))) > 0.005 for at in range(0, len(heard) - rate, rate)]
    assert sum(loud) > 8, f"speech in {sum(loud)} of {len(loud)} seconds"


async def test_602_plays_back_the_message_that_was_left(phones: Phones) -> None:
    phone = await phones.pjsua("ann", "PCMU", says=speech("ann", 16_000), loop=True)
    await phone.dial(f"sip:602@{phones.server.sip}")
    await phone.wait_for("state", text="CONFIRMED")
    await asyncio.sleep(22)
    await phone.do("digits", digits="#")
    await phone.wait_for("closed", timeout_s=60)
    # The message was my own speech; it comes back after the key press.
    assert words_fit(speech("ann", 16_000), phone.heard, from_s=22) > 0.8


async def test_a_wrong_password_registers_nobody(phones: Phones) -> None:
    phone = await phones.pjsua("ann", "PCMU")
    await phone.stop()
    phone.password = "wrong"
    phone.register = False  # do not wait for a success that must not come
    phone.events.clear()
    await phone.start()
    await phone.dial(f"sip:600@{phones.server.sip}")
    closed = await phone.wait_for("closed")
    assert closed["status"] in (401, 403, 407)
    assert "wrong" not in phones.server.log()
