"""Browsers on bad roads: TCP only, relay only, a network that goes and comes back, a restart of ICE in mid-call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mediaserver.webrtc.turn import turn_credentials
from tests.support.chromium import Chromium
from tests.support.lanes import SECOND_SERVER_PORT, SECOND_SERVER_RTP
from tests.support.listen import at_rate, read_wav, tone_levels_db
from tests.support.namespaces import OtherMachine, TwoRoads
from tests.support.page import Browser
from tests.support.server import Server
from tests.support.speech import tone
from tests.wire.conftest import USERS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

SECRET = "north"
TONE_HZ = 440


class Echo:
    """A browser in a call with the echo (603), which says a tone and hears it."""

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser

    async def start(self, server: Server, config: dict[str, Any] | None = None, only: str = "") -> None:
        web = f"{server.web_host or server.host}:{server.base_port + 2}"
        await self.browser.start(f"https://{web}/")
        await self.browser.evaluate(f"phone.configure({config or {'iceServers': []}}, {only!r})")
        await self.browser.register(f"wss://{web}/ws", "sip:ann@test.example", USERS["ann"])
        await self.browser.wait_for("registered")
        await self.browser.call("sip:603@test.example")
        await self.browser.wait_for("peer connected")

    async def transport(self) -> dict[str, Any]:
        found = await self.browser.evaluate("phone.statistics()")
        return dict(next(entry for entry in found if entry["type"] == "transport"))

    async def pair(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The local and remote candidate that are in use."""
        found = {entry["id"]: entry for entry in await self.browser.evaluate("phone.statistics()")}
        transport = await self.transport()
        pair = found[transport["selectedCandidatePairId"]]
        return found[pair["localCandidateId"]], found[pair["remoteCandidateId"]]

    async def hears_itself(self, folder: Path, seconds: float = 1.0) -> bool:
        await self.browser.evaluate("phone.forget()")
        await asyncio.sleep(seconds)
        rate, samples = read_wav(await self.browser.heard(folder / "heard.wav"))
        heard = at_rate(samples, rate, 8_000)
        return bool(len(heard)) and tone_levels_db(heard, 8_000, (TONE_HZ,))[TONE_HZ] > -30

    async def back(self, within_s: float = 5.0) -> dict[str, float]:
        """Seconds from now until a packet of sound comes ("packet") and until it is heard ("sound")."""
        took = await self.browser.evaluate(f"phone.back({within_s})")
        assert min(took.values()) >= 0, (took, await self.browser.events())
        return dict(took)


@pytest_asyncio.fixture(loop_scope="module")
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def _browser(stack: AsyncExitStack, folder: Path) -> Echo:
    browser = Chromium(folder / "chromium", tone(folder / "tone.wav", TONE_HZ, 10.0, 48_000))
    stack.push_async_callback(browser.stop)
    return Echo(browser)


async def test_a_browser_that_no_udp_gets_out_of_calls_by_tcp(
    server: Server, stack: AsyncExitStack, tmp_path: Path
) -> None:
    echo = await _browser(stack, tmp_path)
    await echo.start(server, only="tcp")
    local, remote = await echo.pair()
    assert (local["protocol"], remote["port"]) == ("tcp", server.base_port + 4)
    assert await echo.hears_itself(tmp_path)


async def _coturn(stack: AsyncExitStack, folder: Path, port: int) -> None:
    relay = await asyncio.create_subprocess_exec(
        *("turnserver", "-n", "--no-cli", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--no-tls", "--no-dtls"),
        *(f"--listening-port={port}", "--min-port=28500", "--max-port=28599", "--allow-loopback-peers"),
        *("--realm=test.example", "--use-auth-secret", f"--static-auth-secret={SECRET}", "--no-multicast-peers"),
        *(f"--pidfile={folder}/turn.pid", f"--userdb={folder}/turn.db", "--log-file=stdout"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def end() -> None:
        relay.terminate()
        await relay.wait()

    stack.push_async_callback(end)
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.05)


async def test_a_browser_that_may_only_use_a_relay_hears_itself_through_coturn(
    server: Server, stack: AsyncExitStack, tmp_path: Path
) -> None:
    port = server.base_port + 15
    await _coturn(stack, tmp_path, port)
    made = turn_credentials(SECRET, "ann", time.time(), 600)
    config = {
        "iceServers": [{"urls": f"turn:127.0.0.1:{port}", "username": made.username, "credential": made.password}],
        "iceTransportPolicy": "relay",
    }
    echo = await _browser(stack, tmp_path)
    await echo.start(server, config)
    local, _ = await echo.pair()
    assert local["candidateType"] == "relay"
    assert await echo.hears_itself(tmp_path)


async def test_a_full_agent_asks_a_stun_server_and_finds_a_browser(stack: AsyncExitStack, tmp_path: Path) -> None:
    stun_port = SECOND_SERVER_PORT + 16
    await _coturn(stack, tmp_path, stun_port)
    server = Server(
        tmp_path / "full",
        SECOND_SERVER_PORT,
        users=USERS,
        rtp_ports=f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 15}",
        max_calls=4,
        sections={"webrtc": f'ice = "full"\nstun_server = "127.0.0.1:{stun_port}"'},
    )
    await server.start()
    stack.push_async_callback(server.stop)
    echo = await _browser(stack, tmp_path)
    await echo.start(server)
    _, remote = await echo.pair()
    assert remote["port"] == SECOND_SERVER_PORT + 4
    assert (await echo.transport())["iceRole"] == "controlling"
    assert await echo.hears_itself(tmp_path)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def far(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Server, TwoRoads]]:
    """A server on another machine, and the cables that lead there."""
    with OtherMachine() as machine:
        roads = TwoRoads(machine)
        server = Server(
            tmp_path_factory.mktemp("far"),
            SECOND_SERVER_PORT,
            users=USERS,
            rtp_ports=f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 15}",
            max_calls=4,
            host="0.0.0.0",
            web_host=roads.host,
            prefix=machine.prefix,
        )
        await server.start()
        yield server, roads
        await server.stop()


async def test_the_network_goes_and_comes_back_and_sound_is_there_within_a_second(
    far: tuple[Server, TwoRoads], stack: AsyncExitStack, tmp_path: Path
) -> None:
    server, roads = far
    echo = await _browser(stack, tmp_path)
    await echo.start(server)
    assert await echo.hears_itself(tmp_path)
    roads.cables[0].down()
    await asyncio.sleep(2.0)
    roads.join(roads.cables[0])
    took = await echo.back()
    assert took["sound"] < 1.0, took
    assert await echo.hears_itself(tmp_path)


# Of the call in hand: the address of ours that is in use, packets of sound that came by this connection.
ROAD = """
(async () => {
  const report = await document.querySelector("phone-app").phone.current.peer.getStats();
  const all = [...report.values()];
  const pair = report.get(all.find((entry) => entry.type === "transport")?.selectedCandidatePairId);
  const packets = all.find((entry) => entry.type === "inbound-rtp")?.packetsReceived ?? 0;
  return { address: report.get(pair?.localCandidateId)?.address, packets };
})()
"""


async def test_the_page_stays_in_its_call_by_another_card_with_another_address(
    far: tuple[Server, TwoRoads], stack: AsyncExitStack, tmp_path: Path
) -> None:
    server, roads = far
    first, second = roads.cables
    browser = Browser(tmp_path / "page", tone(tmp_path / "tone.wav", TONE_HZ, 10.0, 48_000))
    stack.push_async_callback(browser.stop)
    await browser.start()
    page = await browser.open(f"https://{roads.host}:{server.base_port + 2}/phone")
    await page.sign_in("ann", USERS["ann"])
    await page.dial("603")
    enough = (
        f"(async () => {{ const {{ address, packets }} = await {ROAD}; return address === %r && packets > 50; }})()"
    )
    await page.until(enough % first.near_host)
    current = "document.querySelector('phone-app').phone.current"
    call = await page.evaluate(f"(window.former = {current}.peer, {current}.id)")
    roads.leave(first)
    roads.join(second)
    await page.until(enough % second.near_host)
    assert await page.evaluate("former.connectionState") == "closed"  # by another connection, which nothing holds back
    await page.until(f"{current}.network === 'ok'")
    assert await page.evaluate(f"[{current}.id, {current}.state]") == [call, "talking"]


async def test_an_ice_restart_in_mid_call_changes_the_credentials_and_not_the_sound(
    server: Server, stack: AsyncExitStack, tmp_path: Path
) -> None:
    echo = await _browser(stack, tmp_path)
    await echo.start(server)
    assert await echo.hears_itself(tmp_path)
    await echo.browser.evaluate("phone.forget()")
    before = (await echo.transport())["iceLocalUsernameFragment"]
    assert await echo.browser.evaluate("phone.iceRestart()")
    for _ in range(100):
        if (await echo.transport())["iceLocalUsernameFragment"] != before:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    assert (await echo.transport())["iceLocalUsernameFragment"] != before
    assert await echo.browser.evaluate("phone.silence()") < 0.6  # two blocks of what is heard: 0.5 s
    assert await echo.hears_itself(tmp_path)
