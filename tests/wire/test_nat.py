"""Phones behind a router that translates addresses and ports, with nothing done about it in the phones."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.lanes import PHONE_RTP_OFFSET, SECOND_SERVER_PORT, SECOND_SERVER_RTP, phone_port
from tests.support.listen import read_wav, tone_levels_db
from tests.support.namespaces import HomeNetwork
from tests.support.pjsua import Pjsua
from tests.support.server import Server
from tests.support.speech import tone
from tests.wire.conftest import USERS

pytestmark = pytest.mark.asyncio(loop_scope="module")

TONES = {"ann": 700.0, "bob": 500.0}


async def test_two_phones_behind_one_nat_reach_each_other_and_are_heard(tmp_path: Path) -> None:
    """Requests come back to where they came from (RFC 3581), media goes to where it is heard from: what the phones
    write into Contact and SDP is a private address that nothing of ours can reach."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(HomeNetwork())
        server = Server(
            tmp_path / "server",
            SECOND_SERVER_PORT,
            users=USERS,
            rtp_ports=f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 15}",
            max_calls=4,
            host="0.0.0.0",
            web_host="127.0.0.1",
        )
        stack.push_async_callback(server.stop)
        await server.start()
        phones = {}
        for user, frequency in TONES.items():
            slot = phone_port()
            phones[user] = Pjsua(
                tmp_path / user,
                slot,
                slot + PHONE_RTP_OFFSET,
                user,
                f"{home.outside}:{server.base_port}",
                tone(tmp_path / f"{user}.wav", frequency, 30, 16_000),
                password=USERS[user],
                host=home.inside,
                prefix=home.prefix,
            )
            stack.push_async_callback(phones[user].stop)
            await phones[user].start()
        await phones["ann"].dial(f"sip:bob@{home.outside}:{server.base_port}")
        for phone in phones.values():
            await phone.wait_for("state", text="CONFIRMED")
        await asyncio.sleep(4)
        await phones["ann"].do("hangup")
        for phone in phones.values():
            await phone.wait_for("closed")
        for listener, speaker in (("ann", "bob"), ("bob", "ann")):
            rate, heard = read_wav(phones[listener].heard)
            levels = tone_levels_db(heard[-3 * rate : -rate], rate, tuple(TONES.values()))
            assert levels[TONES[speaker]] > -20, f"{listener} hears {levels}"
            assert levels[TONES[listener]] < -50, f"{listener} hears itself: {levels}"
        assert home.flows() >= 4, "signalling and sound of both were translated"
