"""What a capture server sees of a call, under the Call-ID of its leg."""

import json
import struct
from typing import Any

from mediaserver.clock import VirtualClock
from mediaserver.model import LegFacts, LegHandle, Masked, MediaAddress
from mediaserver.quality.capture import Capture
from mediaserver.quality.hep import HepSender
from mediaserver.settings import HepSettings
from tests.unit.api.fake_facade import score
from tests.unit.quality.test_monitor import STREAM, stats

HERE, THERE = MediaAddress("192.0.2.1", 20_000), MediaAddress("198.51.100.7", 4_000)


class Desk:
    def __init__(self, *send: str) -> None:
        self.hep = HepSender(HepSettings(host="192.0.2.9", send=list(send)), VirtualClock())  # type: ignore[arg-type]
        self.capture = Capture(self.hep)

    def taken(self) -> list[tuple[int, str, str, bytes]]:
        """(kind, correlation, source address, payload) of what waits to be sent."""
        found = []
        while self.hep._queue:
            packet, at, parts = self.hep._queue.popleft(), 6, {}
            while at < len(packet):
                _, kind, size = struct.unpack(">HHH", packet[at : at + 6])
                parts[kind] = packet[at + 6 : at + size]
                at += size
            source = ".".join(map(str, parts[3]))
            found.append((parts[0x0B][0], parts.get(0x11, b"").decode(), source, parts[0x0F]))
        return found


def leg() -> LegFacts:
    return LegFacts(
        "1", LegHandle(1), "caller", Masked("100"), None, "sip-1@x", 0, 0.0, local=HERE, remote=THERE, source=THERE
    )


def test_messages_are_sent_as_they_stood_with_who_sent_them_first() -> None:
    desk = Desk("sip")
    message = b"BYE sip:a SIP/2.0\r\ni: abc@host \r\n\r\n"
    desk.capture.sip(message, HERE, THERE, False, "udp")
    desk.capture.sip(message, HERE, THERE, True, "tls")
    desk.capture.sip(b"\r\n\r\n", HERE, THERE, False, "udp")
    assert desk.taken() == [(1, "abc@host", "198.51.100.7", message), (1, "abc@host", "192.0.2.1", message)]


def test_scores_and_reports_go_under_the_legs_call_id() -> None:
    desk = Desk("quality", "rtcp")
    desk.capture.leg_opened("c1", leg(), STREAM)
    desk.capture.score(score(3.2), stats(packets_lost=7))
    (kind, correlation, source, body), (other, _, _, report) = desk.taken()
    told: dict[str, Any] = json.loads(body)
    assert (kind, correlation, source) == (34, "sip-1@x", "198.51.100.7")
    assert (told["MOS"], told["mos_scale"], told["CALL_ID"]) == (3.2, "nb", "c1")
    assert other == 5
    assert json.loads(report)["report_blocks"][0]["packets_lost"] == 7


def test_the_calls_own_score_is_another_kind_and_a_closed_leg_is_forgotten() -> None:
    desk = Desk("quality")
    desk.capture.leg_opened("c1", leg(), STREAM)
    desk.capture.score(score(3.9, whole_call=True), None)
    assert [kind for kind, *_ in desk.taken()] == [35]
    desk.capture.leg_closed("c1", leg(), None)
    desk.capture.score(score(3.9), stats())
    assert desk.taken() == []


def test_what_opens_media_or_accounts_leaves_as_so_many_x() -> None:
    desk = Desk("sip")
    secret = {
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s|2^20|1:4;inline:%s|2^20|2:4": b"d0RmdmcmVCspeEc3QGZiNWpVLFJh",
        b"a=key-mgmt:mikey %s": b"AQAFgM0XflABAAAAAAAAAAAAAAsAyO",
        b"a=ice-pwd:%s": b"asd88fgpdd777uzjYhagZg",
        b'Authorization: Digest username="ann",\r\n response="%s", algorithm=MD5': b"6629fae49393a05397450978",
        b"Proxy-Authorization: Basic %s": b"YW5uOnNlY3JldA==",
    }
    for line, value in secret.items():
        filled = line.replace(b"%s", value)
        message = b"INVITE sip:a SIP/2.0\r\nCall-ID: abc\r\n" + filled + b"\r\ns=a response to all\r\n"
        desk.capture.sip(message, HERE, THERE, True, "tls")
        ((_, _, _, sent),) = desk.taken()
        assert sent == message.replace(value, b"x" * len(value))
    desk.capture.sip(
        b"INFO sip:a SIP/2.0\r\nCall-ID: abc\r\nContent-Type: application/dtmf\r\n\r\n7\r\n", HERE, THERE, True, "tls"
    )
    assert b"7" not in desk.taken()[0][3]


def test_a_key_of_a_keypad_is_crossed_out() -> None:
    desk = Desk("sip")
    head = b"INFO sip:a SIP/2.0\r\nCall-ID: abc\r\nContent-Type: application/dtmf-relay\r\n\r\n"
    for body, sent in (b"Signal=7", b"Signal=x"), (b" signal = 11", b" signal = xx"):
        desk.capture.sip(head + body + b"\r\nDuration=160\r\n", HERE, THERE, True, "tls")
        assert desk.taken()[0][3] == head + sent + b"\r\nDuration=160\r\n"


async def test_a_log_line_of_a_call_goes_under_its_first_legs_call_id() -> None:
    desk = Desk("log")
    desk.capture.leg_opened("c1", leg(), STREAM)
    desk.capture.log_line({"call_id": "c1", "level": "warning", "event": "no media", "leg": "1"})
    desk.capture.log_line({"call_id": "c2", "level": "info", "event": "another call"})
    desk.capture.log_line({"level": "info", "event": "of no call"})
    assert desk.taken() == [(100, "sip-1@x", "192.0.2.1", b"warning no media call_id=c1 leg=1")]
    quiet = Desk("sip")
    quiet.capture.leg_opened("c1", leg(), STREAM)
    quiet.capture.log_line({"call_id": "c1", "event": "x"})
    assert quiet.taken() == []


def test_a_log_line_from_another_thread_is_left_to_the_log() -> None:
    desk = Desk("log")
    desk.capture.leg_opened("c1", leg(), STREAM)
    desk.capture.log_line({"call_id": "c1", "event": "x"})  # no loop runs here
    assert desk.taken() == []
