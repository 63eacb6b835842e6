"""What relaying a packet between a browser and a SIP phone costs: SRTP on one side, plain RTP on the other.

    python benchmarks/srtp_relay.py             1,000 streams, three rounds, medians
    python benchmarks/srtp_relay.py --record    also appends a line to benchmarks/history/srtp_relay.jsonl

As benchmarks/relay.py, with every other phone a browser at the shared port (AES_CM_128_HMAC_SHA1_80, no handshake: keys
are given). A relayed packet is protected or unprotected once. The limit is the bare reflector's cost for as many plain
packets plus what the library alone needs (as benchmarks/srtp.py); rtpengine does the same work by SDES.
Needs libsrtp2-dev for the phones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import relay

from benchmarks._history import append
from mediaserver.model import SrtpProfile

KEY = bytes(range(30))
BROWSER_PORT = 9_990
TARGET_RATIO = 1.3


async def serve(streams: int) -> None:
    """The child process: an engine with streams/2 calls of a browser and a phone, until stdin closes."""
    from mediaserver.clock import SystemClock
    from mediaserver.media.engine import MediaEngine
    from mediaserver.model import CodecName, CodecParams, MediaAddress, SrtpKey, StreamSettings
    from mediaserver.settings import MediaSettings

    settings = MediaSettings(port_range="10000-19999")
    engine = MediaEngine(settings, SystemClock(), lambda event: None, webrtc_port=BROWSER_PORT)
    await engine.start()
    both = (CodecParams(CodecName.PCMU, 0, 8_000), CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000))
    key = SrtpKey(SrtpProfile.AES_CM_128_HMAC_SHA1_80, KEY)
    before_kb = relay.resident_kb(os.getpid())
    ports = []
    for number in range(streams):
        remote = MediaAddress(relay.PHONE_HOST, relay.PHONE_PORT + number)
        if number % 2 == 0:
            bridge = await engine.create_bridge()
            leg = await engine.open_leg(relay.SERVER_HOST, datagrams=True)
            engine.bind_address(leg.handle, remote)
            stream = StreamSettings(
                send=both,
                receive=both,
                remote=remote,
                remote_proven=True,
                rtcp_mux=True,
                cname="bench",
                send_key=key,
                receive_key=key,
            )
        else:
            leg = await engine.open_leg(relay.SERVER_HOST)
            stream = StreamSettings(send=both, receive=both, remote=remote, cname="bench")
        await engine.set_stream(leg.handle, stream)
        await engine.bridge_add(bridge, leg.handle)
        ports.append(leg.rtp_port)
    print(json.dumps({"ports": ports, "memory_before_kb": before_kb}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await engine.stop()


@contextmanager
def ours(folder: Path, streams: int) -> Iterator[tuple[int, relay.Ports, int]]:
    with relay.ours(folder, streams, __file__) as started:
        yield started


@contextmanager
def rtpengine(folder: Path, streams: int) -> Iterator[tuple[int, relay.Ports, int]]:
    with relay.rtpengine(folder, streams, KEY) as started:
        yield started


SERVERS = {"reflector": relay.reflector, "mediaserver": ours, "rtpengine": rtpengine}


def library_us() -> float:
    """Of one operation: half of the packets are protected, half unprotected."""
    from mediaserver.ext.srtp_harness import stretch

    suite = list(SrtpProfile).index(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    return min(sum(stretch(suite, KEY, 160, 4_000)) / 2 for _ in range(15)) / 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve))
        return
    os.environ["SRTP_KEY"] = KEY.hex()
    names = [name for name in SERVERS if name != "rtpengine" or shutil.which("rtpengine")]
    results: dict[str, list[relay.Result]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        plain, mixed = Path(folder) / "plain", Path(folder) / "mixed"
        plain.mkdir()
        mixed.mkdir()
        loads = {
            "plain": relay.build(plain, "load"),
            "mixed": relay.build(mixed, "load", "-DSRTP", "-lsrtp2"),
        }
        for _ in range(args.rounds):
            for name in names:
                load = loads["plain" if name == "reflector" else "mixed"]
                with SERVERS[name](Path(folder), args.streams) as (pid, ports, memory_kb):
                    results[name].append(relay.measure(load, pid, ports, args.seconds, memory_kb))
    medians = {
        name: relay.Result(**{key: statistics.median(asdict(r)[key] for r in found) for key in asdict(found[0])})
        for name, found in results.items()
    }
    library = library_us()
    print(f"{'':12} {'µs/packet':>10} {'p50 µs':>8} {'p99 µs':>8} {'lost':>6} {'KB/leg':>7}")
    for name, r in medians.items():
        print(
            f"{name:12} {r.cpu_us_per_packet:10.2f} {r.p50_us:8.0f} {r.p99_us:8.0f} {r.packets_lost:6.0f} "
            f"{r.memory_kb_per_leg:7.1f}"
        )
    ratio = medians["mediaserver"].cpu_us_per_packet / (medians["reflector"].cpu_us_per_packet + library)
    print(f"library alone {library:.2f} µs; ratio to reflector + library {ratio:.2f} (at most {TARGET_RATIO})")
    if args.record:
        append(
            "srtp_relay",
            {
                "streams": args.streams,
                "library_us": library,
                **{name: asdict(result) for name, result in medians.items()},
            },
        )


if __name__ == "__main__":
    main()
