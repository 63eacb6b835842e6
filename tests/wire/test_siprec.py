"""A recording client on the wire: INVITE with SDP and metadata, two streams, an update, BYE; and what is kept."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mediaserver.cli_common import load_settings
from mediaserver.store.calls import CallStore
from mediaserver.store.database import open_database
from mediaserver.store.recordings import RecordingStore
from tests.support.lanes import PHONE_RTP_OFFSET, SERVER_PORT, phone_port
from tests.support.rawcall import RawCall, rtp_packet
from tests.support.server import Server
from tests.support.sipp import run_sipp

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = """
[[route]]
name = "elsewhere"
number = "605"
program = "echo"
options = { intro = false }
record = true
consent = "prior-contract"
record_to = "archive"

"""
EXTRA_CONFIG = f"""
[trunks.archive]
uri = "sip:127.0.0.1:{SERVER_PORT}"

[trunks.sbc]
uri = "sip:127.0.0.1:5998"
allow_from = ["127.0.0.1"]
siprec_policy = "declared-by-client"
"""
METADATA = (Path(__file__).resolve().parents[1] / "vectors" / "siprec" / "two-parties.xml").read_text()
PACKETS = 60


class RecordingClient(RawCall):
    """Sends two streams with labels 96 and 97."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.second.bind((self.host, 0))

    def sdp(self) -> str:
        head = f"v=0\r\no=src 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
        sections = [
            f"m=audio {one.getsockname()[1]} RTP/AVP 0\r\na=label:{label}\r\na=sendonly\r\n"
            for one, label in ((self.rtp, 96), (self.second, 97))
        ]
        sdp = head + "".join(sections)
        return (
            f"--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n"
            f"Content-Disposition: recording-session\r\n\r\n{METADATA}\r\n--b--\r\n"
        )

    def _request(self, method: str, cseq: int, body: str = "", target: str = "", branch: str = "") -> bytes:
        request = super()._request(method, cseq, body, target, branch)
        kind = (
            b"multipart/mixed;boundary=b\r\nRequire: siprec" if method == "INVITE" else b"application/rs-metadata+xml"
        )
        return request.replace(b"Content-Type: application/sdp", b"Content-Type: " + kind, 1)

    def speak(self) -> None:
        ports = [int(port) for port in re.findall(r"^m=audio (\d+)", self.answer, re.M)]
        for number in range(PACKETS):
            for index, (one, port) in enumerate(zip((self.rtp, self.second), ports, strict=True)):
                packet = rtp_packet(number, number * 160, 0x1000 + index, bytes([64 + index]) * 160)
                one.sendto(packet, (self.media[0], port))
            time.sleep(0.005)

    def update(self) -> str:
        body = METADATA.replace("complete", "partial").replace("Bob B", "Robert")
        self.sip.sendto(self._request("UPDATE", 2, body, self._target), self.server)
        return self.sip.recv(65_535).decode()

    def bye(self) -> None:
        self.sip.sendto(self._request("BYE", 3, target=self._target), self.server)
        assert self.sip.recv(65_535).decode().startswith("SIP/2.0 200")


def recorded(server: Server) -> tuple[str, str]:
    """The answer to the INVITE and to the UPDATE."""
    client = RecordingClient((server.host, server.base_port), "srs")
    try:
        assert client.dial() == 200
        client.speak()
        updated = client.update()
        client.bye()
        return client.answer, updated
    finally:
        client.second.close()
        client.close()


async def found(server: Server) -> tuple[dict[str, Any], Any, Any]:
    """The only recording once it is complete, its evidence and its call."""
    settings = load_settings(server.config)
    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        store = RecordingStore(database)
        async with asyncio.timeout(20):
            while not (rows := [row for row in await store.list() if row.state == "complete"]):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while (call := await CallStore(database).show(rows[0].call_id)) is None or call.ended_ms is None:
                await asyncio.sleep(0.1)
        return {"row": rows[0]}, await store.evidence(rows[0].recording_id), call
    finally:
        await database.close()


async def test_two_streams_of_a_recording_client_are_one_conversation_that_can_be_proven(server: Server) -> None:
    answer, updated = await asyncio.to_thread(recorded, server)
    assert answer.count("a=recvonly") == 2
    assert "+sip.srs" in answer
    assert updated.startswith("SIP/2.0 200")
    values, evidence, call = await found(server)
    row = values["row"]
    assert (row.legs, row.packets_lost, row.policy, row.route) == (2, 0, "declared-by-client", "siprec-sbc")
    assert (str(row.caller), str(row.called)) == ("+442079460101", "bob")
    assert [(one.leg_id, one.how, one.state) for one in evidence] == [
        ("1", "siprec", "granted"),
        ("2", "siprec", "granted"),
    ]
    assert [leg["stats"]["packets_received"] for leg in call.legs] == [PACKETS, PACKETS]
    code, text, error = await server.cli("recordings", "verify", row.recording_id)
    assert code == 0, text + error


async def test_sipp_as_a_recording_client_gets_what_the_rfc_promises_it(server: Server, tmp_path: Path) -> None:
    port = phone_port()
    result = await run_sipp(
        tmp_path, "recording_client", server.sip, service="srs", calls=1, rate=1, at_once=1, talk_ms=0, port=port,
        media_port=port + PHONE_RTP_OFFSET, timeout_s=20,
    )  # fmt: skip
    assert (result.successful, result.failed, result.exit_code) == (1, 0, 0), result.output


def called_and_sent(server: Server) -> None:
    client = RawCall((server.host, server.base_port), "605")
    try:
        assert client.dial() == 200
        client.talk([bytes([number]) * 160 for number in range(100)], 0.01)
        client.hang_up()
    finally:
        client.close()


async def test_a_call_recorded_here_is_recorded_by_another_recorder_too_which_is_ourselves(server: Server) -> None:
    await asyncio.to_thread(called_and_sent, server)
    settings = load_settings(server.config)
    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        store, calls = RecordingStore(database), CallStore(database)
        async with asyncio.timeout(20):
            while True:
                rows = {row.route: row for row in await store.list() if row.state == "complete"}
                copies = [row for row in await store.list() if str(row.caller) == "raw" and row.state == "complete"]
                if "elsewhere" in rows and len(copies) == 2:
                    break
                await asyncio.sleep(0.1)
        copy = next(row for row in copies if row.route == "siprec-sbc")
        async with asyncio.timeout(20):
            while (call := await calls.show(copy.call_id)) is None or call.ended_ms is None:
                await asyncio.sleep(0.1)
    finally:
        await database.close()
    (leg,) = call.legs
    assert (leg["number"], copy.legs, copy.packets_lost) == ("raw", 1, 0)
    assert 1 <= leg["stats"]["packets_received"] <= 100  # but for those before the recorder had answered
