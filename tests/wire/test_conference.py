"""Three phones with different tones in one room: each hears the other two and not itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.listen import read_wav, tone_levels_db
from tests.support.speech import tone
from tests.wire.conftest import Phones

pytestmark = pytest.mark.asyncio(loop_scope="module")

TONES_HZ = {"u0": 440.0, "u1": 1_000.0, "u2": 1_900.0}
CODECS = {"u0": "PCMU", "u1": "PCMA", "u2": "G722"}


async def test_each_of_three_in_room_700_hears_the_other_two_and_not_itself(phones: Phones, tmp_path: Path) -> None:
    members = {}
    for user, frequency in TONES_HZ.items():
        says = tone(tmp_path / f"{user}.wav", frequency, 10, 16_000)
        members[user] = await phones.pjsua(user, CODECS[user], says=says, loop=True)
        await members[user].dial(f"sip:700@{phones.server.sip}")
        await members[user].wait_for("state", text="CONFIRMED")
    await asyncio.sleep(14)  # the greeting of the last to join is over, then some seconds of everyone
    for phone in members.values():
        await phone.do("hangup")
        await phone.wait_for("closed")
    for user, phone in members.items():
        rate, samples = read_wav(phone.heard)
        # The first to join leaves first: all were there in his last seconds, not in theirs.
        samples = samples[-4 * rate :] if user == "u0" else samples[-5 * rate : -rate]
        levels = tone_levels_db(samples, rate, tuple(TONES_HZ.values()))
        print(user, {f: round(level, 1) for f, level in levels.items()})
        for other, frequency in TONES_HZ.items():
            if other == user:
                assert levels[frequency] < -55, f"{user} hears itself at {levels[frequency]:.0f} dB"
            else:
                assert -18 < levels[frequency] < -8, f"{user} hears {other} at {levels[frequency]:.0f} dB"
