"""The browser's end of a WebRTC leg, sans-I/O: checks, nominates, shakes hands, describes itself. No real browser."""

from __future__ import annotations

from mediaserver.model import MediaAddress
from mediaserver.sdp.parse import parse
from mediaserver.webrtc import stun
from mediaserver.webrtc.dtls import DtlsEndpoint, DtlsIdentity, Fingerprint
from mediaserver.webrtc.stun import Attribute, Kind

ADDRESS = MediaAddress("192.0.2.7", 50_000)
_IDENTITY = DtlsIdentity()


class FakeBrowser:
    """`offer` or `answer`, then feed `receive` and send what it returns, starting with `check`."""

    def __init__(
        self,
        *,
        client: bool = True,
        address: MediaAddress = ADDRESS,
        identity: DtlsIdentity = _IDENTITY,
        ufrag: str = "brow",
    ) -> None:
        self.address = address
        self.ufrag, self.password = ufrag, "browserPassword22Characters"
        self.dtls = DtlsEndpoint(identity, client=client)
        self.fingerprint = str(identity.fingerprint)
        self.client = client
        self.answers: list[stun.StunMessage] = []
        self._peer = ("", b"")
        self._number = 0

    def offer(self, *, setup: str = "actpass", direction: str = "sendrecv") -> bytes:
        return "\r\n".join(
            (
                "v=0",
                "o=- 1 2 IN IP4 127.0.0.1",
                "s=-",
                "t=0 0",
                "a=group:BUNDLE 0",
                "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 110",
                "c=IN IP4 0.0.0.0",
                "a=mid:0",
                f"a=ice-ufrag:{self.ufrag}",
                f"a=ice-pwd:{self.password}",
                f"a=fingerprint:{self.fingerprint}",
                f"a=setup:{setup}",
                f"a={direction}",
                "a=rtcp-mux",
                "a=rtpmap:111 opus/48000/2",
                "a=rtpmap:110 telephone-event/48000",
                "",
            )
        ).encode()

    def answer(self, *, data_mid: str = "") -> bytes:
        """data_mid: of the data section that is taken."""
        sdp = self.offer(setup="active" if self.client else "passive")
        if not data_mid:
            return sdp
        section = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:{data_mid}\r\na=sctp-port:5000\r\n"
        return sdp.replace(b"BUNDLE 0", f"BUNDLE 0 {data_mid}".encode()) + section.encode()

    def take(self, sdp: bytes) -> None:
        """The server's offer or answer."""
        session = parse(sdp)
        media = next(m for m in session.media if m.port)
        self._peer = (media.first("ice-ufrag") or "", (media.first("ice-pwd") or "").encode())
        fingerprint = Fingerprint.parse(media.first("fingerprint") or "")
        assert fingerprint is not None
        self.dtls.expect(fingerprint)

    def check(self, *, nominate: bool = True) -> bytes:
        self._number += 1
        ufrag, password = self._peer
        attributes = [(Attribute.USERNAME, f"{ufrag}:{self.ufrag}".encode()), (Attribute.ICE_CONTROLLING, bytes(8))]
        if nominate:
            attributes.append((Attribute.USE_CANDIDATE, b""))
        return stun.write(Kind.REQUEST, self._number.to_bytes(12, "big"), attributes, password)

    def receive(self, data: bytes) -> list[bytes]:
        """What the server sent; what goes back."""
        if data[0] < 4:
            message = stun.parse(data)
            assert message is not None
            assert message.integrity_holds(self._peer[1])
            self.answers.append(message)
            if self.client:
                self.dtls.start(0)
        else:
            self.dtls.receive(data, 0)
        return self.dtls.poll()
