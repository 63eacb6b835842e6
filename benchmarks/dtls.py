"""What a browser's leg costs beside its packets: DTLS handshakes per second and core, and memory per connected leg.

    python benchmarks/dtls.py             300 legs
    python benchmarks/dtls.py --record    also appends a line to benchmarks/history/dtls.jsonl

Server and browsers' ends are in one process; only the time inside the server's end counts (ICE check answered, four
flights, keys, the stream set in the engine: Opus both ways, AES-GCM). Memory is what the process grew by after the
browsers' ends were thrown away: transport, OpenSSL's state, SRTP sessions, jitter buffer, encoder, decoder.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import secrets
import time
from pathlib import Path

from benchmarks._history import append
from mediaserver.clock import SystemClock
from mediaserver.media.engine import MediaEngine
from mediaserver.model import CodecName, CodecParams, MediaAddress, StreamSettings
from mediaserver.settings import MediaSettings
from mediaserver.webrtc import stun
from mediaserver.webrtc.dtls import DtlsEndpoint, DtlsIdentity
from mediaserver.webrtc.stun import Attribute, Kind
from mediaserver.webrtc.transport import WebRtcTransport

HOST, PORT = "127.0.8.2", 9_980
OPUS = (CodecParams(CodecName.OPUS, 111, 48_000, 2, {"useinbandfec": "1"}),)
US, THEM = DtlsIdentity(), DtlsIdentity()


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


class Guest:
    """A leg with its browser's end; `busy_ns` is what our side of it took."""

    def __init__(self, engine: MediaEngine, number: int) -> None:
        self.engine = engine
        self.address = MediaAddress("127.0.9.9", 10_000 + number)
        self.sent: list[bytes] = []
        self.busy_ns = 0

    async def connect(self) -> WebRtcTransport:
        engine = self.engine
        leg = await engine.open_leg(HOST, datagrams=True)
        start = time.thread_time_ns()
        transport = WebRtcTransport(
            US,
            SystemClock(),
            lambda data, to: self.sent.append(data),
            lambda: None,
            admit=lambda address: engine.bind_address(leg.handle, address),
        )
        engine.name_leg(leg.handle, transport.ice.local.ufrag)
        transport.describe("them", "p" * 24, [str(THEM.fingerprint)], client=False)
        self.busy_ns += time.thread_time_ns() - start
        browser = DtlsEndpoint(THEM, client=True)
        browser.expect(US.fingerprint)
        self._feed(transport, self._check(transport))
        browser.start(0)
        while not transport.is_ready:
            for data in browser.poll():
                self._feed(transport, data)
            for data in self.sent:
                if data[0] >= 20:
                    browser.receive(data, 0)
            self.sent.clear()
        start = time.thread_time_ns()
        keys = transport.keys
        assert keys is not None
        stream = StreamSettings(
            send=OPUS,
            receive=OPUS,
            remote=transport.address,
            remote_proven=True,
            rtcp_mux=True,
            cname="bench",
            send_key=keys.send,
            receive_key=keys.receive,
        )
        await engine.set_stream(leg.handle, stream)
        self.busy_ns += time.thread_time_ns() - start
        return transport

    def _feed(self, transport: WebRtcTransport, data: bytes) -> None:
        start = time.thread_time_ns()
        transport.receive(data, self.address)
        self.busy_ns += time.thread_time_ns() - start

    def _check(self, transport: WebRtcTransport) -> bytes:
        local = transport.ice.local
        attributes = [
            (int(Attribute.USERNAME), f"{local.ufrag}:them".encode()),
            (int(Attribute.ICE_CONTROLLING), bytes(8)),
            (int(Attribute.USE_CANDIDATE), b""),
        ]
        return stun.write(Kind.REQUEST, secrets.token_bytes(12), attributes, local.password.encode())


async def measure(legs: int) -> dict[str, float]:
    settings = MediaSettings(port_range="10000-10099", realtime=False)
    engine = MediaEngine(settings, SystemClock(), lambda event: None, webrtc_port=PORT)
    await engine.start()
    first = Guest(engine, 0)
    kept = [await first.connect()]  # whatever is loaded only once
    gc.collect()
    before_kb = resident_kb()
    busy_ns = 0
    for number in range(1, legs + 1):
        guest = Guest(engine, number)
        kept.append(await guest.connect())
        busy_ns += guest.busy_ns
    gc.collect()
    grown_kb = resident_kb() - before_kb
    for transport in kept:
        transport.close()
    await engine.stop()
    return {
        "handshakes_per_s": legs / busy_ns * 1e9,
        "handshake_ms": busy_ns / legs / 1e6,
        "kb_per_leg": grown_kb / legs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=300)
    parser.add_argument("--record", action="store_true", help="append a line to benchmarks/history/dtls.jsonl")
    options = parser.parse_args()
    found = asyncio.run(measure(options.legs))
    print(
        f"{found['handshakes_per_s']:.0f} handshakes/s and core ({found['handshake_ms']:.2f} ms each), "
        f"{found['kb_per_leg']:.0f} KB per connected leg (at most 300)"
    )
    if options.record:
        append(
            "dtls",
            {
                "legs": options.legs,
                **found,
            },
        )


if __name__ == "__main__":
    main()
