"""A caller made of nothing but bytes: one INVITE, one RTP socket, every packet ours. For trunks without digest."""

from __future__ import annotations

import re
import secrets
import socket
import struct
import time
from dataclasses import dataclass, field

PCMU_SILENCE = b"\xff" * 160


def rtp_packet(
    sequence: int, timestamp: int, ssrc: int, payload: bytes, payload_type: int = 0, marker: bool = False
) -> bytes:
    return (
        struct.pack(
            "!BBHII", 0x80, (0x80 if marker else 0) | payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
        )
        + payload
    )


@dataclass
class RawCall:
    server: tuple[str, int]
    number: str
    host: str = "127.0.0.1"
    codecs: str = "0 101"
    sdp_extra: str = ""
    sip: socket.socket = field(init=False)
    rtp: socket.socket = field(init=False)
    status: int = 0
    media: tuple[str, int] = ("", 0)
    answer: str = ""
    _call_id: str = field(default_factory=lambda: secrets.token_hex(8))
    _tag: str = field(default_factory=lambda: secrets.token_hex(4))
    _to: str = ""
    _target: str = ""
    sequence: int = 1000
    timestamp: int = 160_000
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))

    def __post_init__(self) -> None:
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind((self.host, 0))
        self.sip.settimeout(5)
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind((self.host, 0))
        self.rtp.settimeout(1)

    @property
    def _me(self) -> str:
        return f"{self.host}:{self.sip.getsockname()[1]}"

    def sdp(self) -> str:
        return (
            f"v=0\r\no=raw 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp.getsockname()[1]} RTP/AVP {self.codecs}\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n{self.sdp_extra}"
        )

    def _request(self, method: str, cseq: int, body: str = "", target: str = "", branch: str = "") -> bytes:
        to = self._to or f"<sip:{self.number}@{self.server[0]}:{self.server[1]}>"
        lines = [
            f"{method} {target or f'sip:{self.number}@{self.server[0]}:{self.server[1]}'} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._me};branch=z9hG4bK{branch or secrets.token_hex(6)};rport",
            f"From: <sip:raw@{self._me}>;tag={self._tag}",
            f"To: {to}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:raw@{self._me}>",
            "Max-Forwards: 70",
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def dial(self) -> int:
        """Returns the final status; at 200 the ACK is sent and `media` is where RTP goes."""
        branch = secrets.token_hex(6)
        self.sip.sendto(self._request("INVITE", 1, self.sdp(), branch=branch), self.server)
        while True:
            text = self.sip.recv(65_535).decode()
            self.status = int(text.split(" ", 2)[1])
            if self.status >= 200:
                break
        match = re.search(r"^(?:To|t): *(.*?)\r$", text, re.M | re.I)
        assert match
        self._to = match[1]
        if self.status >= 300:
            self.sip.sendto(self._request("ACK", 1, branch=branch), self.server)  # of the INVITE: RFC 3261 §17.1.1.3
            return self.status
        contact = re.search(r"^(?:Contact|m): *<?([^>\r;]+)", text, re.M | re.I)
        address = re.search(r"^c=IN IP4 (\S+)\r$", text, re.M)
        port = re.search(r"^m=audio (\d+)", text, re.M)
        assert contact
        assert address
        assert port
        self._target, self.answer = contact[1], text
        self.media = (address[1], int(port[1]))
        self.sip.sendto(self._request("ACK", 1, target=self._target), self.server)
        return self.status

    def confirm(self, request: str) -> None:
        """200 to a request of the server."""
        kept = [
            line for line in request.split("\r\n") if re.match(r"(?:Via|v|From|f|To|t|Call-ID|i|CSeq): ?", line, re.I)
        ]
        self.sip.sendto("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode(), self.server)

    def hang_up(self) -> None:
        self.sip.sendto(self._request("BYE", 2, target=self._target), self.server)
        while True:
            text = self.sip.recv(65_535).decode()
            if "BYE" in text and text.startswith("SIP/2.0 2"):
                return

    def next_packet(self, payload: bytes = PCMU_SILENCE) -> bytes:
        packet = rtp_packet(self.sequence, self.timestamp, self.ssrc, payload)
        self.sequence += 1
        self.timestamp += len(payload)
        return packet

    def talk(self, payloads: list[bytes], interval_s: float = 0.02) -> None:
        """Sends them on a steady clock."""
        start = time.monotonic()
        for index, payload in enumerate(payloads):
            pause = start + index * interval_s - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            self.rtp.sendto(self.next_packet(payload), self.media)

    def received(self, wait_s: float = 0.2) -> list[bytes]:
        """All RTP packets waiting, until nothing has come for `wait_s`."""
        packets = []
        self.rtp.settimeout(wait_s)
        while True:
            try:
                packets.append(self.rtp.recv(2048))
            except TimeoutError:
                return packets

    def close(self) -> None:
        self.sip.close()
        self.rtp.close()
