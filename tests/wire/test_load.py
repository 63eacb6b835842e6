"""SIPp as a PBX trunk: many calls with media at once, and calls arriving steadily. None fails, none loses a packet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.lanes import SIPP_MEDIA_PORT, SIPP_PORT
from tests.support.server import Server
from tests.support.sipp import run_sipp

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXTRA_CONFIG = """
[trunks.sipp]
uri = "sip:127.0.0.1:5999"
allow_from = ["127.0.0.1"]
"""
SECTIONS = {"media": "workers = 1"}


def socket_drops() -> int:
    """UDP datagrams this host's kernel threw away because a receive buffer was full."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
    return int(dict(zip(*lines, strict=True))["RcvbufErrors"])


async def packets(server: Server) -> dict[str, float]:
    names = {
        "received": "mediaserver_media_packets_received_total",
        "sent": "mediaserver_media_packets_sent_total",
        "unroutable": "mediaserver_media_packets_unroutable_total",
        "send_errors": "mediaserver_media_send_errors_total",
    }
    return {key: await server.metric(name) for key, name in names.items()}


@pytest.mark.alone
async def test_150_calls_with_media_at_once_lose_nothing(server: Server, tmp_path: Path) -> None:
    before, drops = await packets(server), socket_drops()
    result = await run_sipp(
        tmp_path,
        "caller_with_media",
        server.sip,
        service="603",
        calls=150,
        rate=30,
        at_once=150,
        talk_ms=15_000,
        port=SIPP_PORT,
        media_port=SIPP_MEDIA_PORT,
    )
    assert (result.exit_code, result.successful, result.failed) == (0, 150, 0), result.output
    assert result.peak == 150
    await asyncio.sleep(1)
    after = await packets(server)
    moved = {key: after[key] - before[key] for key in after}
    print(moved, "kernel drops", socket_drops() - drops)
    assert moved["received"] > 150 * 700, "each caller talks for 15 s: 750 packets"
    assert moved["sent"] == moved["received"], "the echo returned every packet that the kernel delivered"
    assert moved["unroutable"] == moved["send_errors"] == 0


@pytest.mark.beside
async def test_20_calls_a_second_for_two_minutes_all_succeed(server: Server, tmp_path: Path) -> None:
    before = await packets(server)
    result = await run_sipp(
        tmp_path,
        "caller_with_media",
        server.sip,
        service="603",
        calls=2_400,
        rate=20,
        at_once=200,
        talk_ms=3_000,
        port=SIPP_PORT + 1,
        media_port=SIPP_MEDIA_PORT,
    )
    assert (result.exit_code, result.successful, result.failed) == (0, 2_400, 0), result.output
    await asyncio.sleep(1)
    after = await packets(server)
    assert after["sent"] - before["sent"] == after["received"] - before["received"] > 2_400 * 130
    assert await server.calls() == []
