"""What relaying one RTP packet costs: a bare C reflector, this server and Debian's rtpengine, in the same run.

    python benchmarks/relay.py                     1,000 streams, three rounds, medians
    python benchmarks/relay.py --streams 500       latency where p99 must stay under 1 ms
    python benchmarks/relay.py --record            also appends a line to benchmarks/history/relay.jsonl

Server on core 0, phones (benchmarks/load.c) on core 1, both with real-time priority where the right to it is there.
CPU is the run time of every thread of the server from /proc/<pid>/task/*/schedstat, which counts what the tick-based
/proc/stat does not see. The reflector (benchmarks/reflector.c) is the limit; the ratio to it is the result.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks._history import append

HERE = Path(__file__).resolve().parent
SERVER_HOST, PHONE_HOST = "127.0.8.1", "127.0.9.1"  # nobody else binds there
SERVER_PORT, PHONE_PORT = 10_000, 10_000
NG_PORT = 30_990
NAP_US = 250  # what a busy media worker naps, ext/worker.pyx
WARMUP_MS = 1_500
TARGET_RATIO = 1.3
Ports = list[tuple[str, int]]


@dataclass
class Result:
    cpu_us_per_packet: float
    packets_lost: int
    p50_us: float
    p99_us: float
    p999_us: float
    late_sends: int
    memory_kb_per_leg: float


def build(folder: Path, name: str, *options: str) -> Path:
    binary = folder / name
    subprocess.run(["cc", "-O2", "-o", binary, HERE / f"{name}.c", *options, "-lm"], check=True)
    return binary


def on_core(core: int) -> list[str]:
    """Command prefix: pinned, and real-time where allowed."""
    prefix = ["taskset", "-c", str(core)]
    allowed = subprocess.run(["chrt", "-f", "5", "true"], capture_output=True, check=False).returncode == 0
    return [*prefix, "chrt", "-f", "5"] if allowed else prefix


def run_time_ns(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def drive(
    load: Path,
    ports: Ports,
    seconds: float,
    payload: tuple[str, ...],
    cpu_ns: Callable[[], int],
    *,
    warmup_ms: int = WARMUP_MS,
    more: Mapping[str, str] = {},
) -> tuple[int, list[float]]:
    """What `cpu_ns` grew by while the phones were counting, and what they say. more: of the environment, see load.c."""
    times = (str(warmup_ms), str(int(seconds * 1000)))
    command = [*on_core(1), str(load), str(len(ports)), *times, PHONE_HOST, str(PHONE_PORT), *payload]
    environment = {**os.environ, **more}
    phones = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert phones.stdin and phones.stdout
    phones.stdin.write("".join(f"{host} {port}\n" for host, port in ports))
    phones.stdin.close()
    if phones.stdout.readline() != "go\n":
        raise SystemExit("the load generator did not start")
    before = cpu_ns()
    phones.stdout.readline()
    used = cpu_ns() - before
    said = [float(part) for part in phones.stdout.readline().split()]
    phones.wait()
    return used, said


def measure(
    load: Path, pid: int, ports: Ports, seconds: float, memory_before_kb: int, payload: tuple[str, ...] = ()
) -> Result:
    """payload: type, RTP clock per packet and hex bytes for load.c; without it packets carry their time of sending."""
    used, said = drive(load, ports, seconds, payload, lambda: run_time_ns(pid))
    sent, received, p50, p99, p999, _, late = said
    return Result(
        cpu_us_per_packet=used / 1000 / max(received, 1),
        packets_lost=int(sent - received),
        p50_us=p50,
        p99_us=p99,
        p999_us=p999,
        late_sends=int(late),
        memory_kb_per_leg=(resident_kb(pid) - memory_before_kb) / len(ports) if memory_before_kb else 0.0,
    )


@contextmanager
def reflector(folder: Path, streams: int) -> Iterator[tuple[int, Ports, int]]:
    binary = build(folder, "reflector")
    process = subprocess.Popen(
        [*on_core(0), str(binary), str(streams), SERVER_HOST, str(SERVER_PORT), str(NAP_US)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()
    try:
        yield process.pid, [(SERVER_HOST, SERVER_PORT + 2 * i) for i in range(streams)], 0
    finally:
        process.kill()
        process.wait()


@contextmanager
def ours(folder: Path, streams: int, script: str = __file__) -> Iterator[tuple[int, Ports, int]]:
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, script, "--serve", str(streams)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    assert process.stdout and process.stdin
    told = json.loads(process.stdout.readline())
    try:
        yield process.pid, [(SERVER_HOST, port) for port in told["ports"]], told["memory_before_kb"]
    finally:
        process.stdin.close()
        process.wait()


async def serve(streams: int) -> None:
    """The child process: an engine with streams/2 relayed calls, until stdin closes."""
    from mediaserver.clock import SystemClock
    from mediaserver.media.engine import MediaEngine
    from mediaserver.model import CodecName, CodecParams, MediaAddress, StreamSettings
    from mediaserver.settings import MediaSettings

    engine = MediaEngine(MediaSettings(port_range="10000-19999"), SystemClock(), lambda event: None)
    await engine.start()
    both = (CodecParams(CodecName.PCMU, 0, 8_000), CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000))
    memory_before_kb = resident_kb(os.getpid())
    ports = []
    for call in range(streams // 2):
        bridge = await engine.create_bridge()
        for side in range(2):
            leg = await engine.open_leg(SERVER_HOST)
            remote = MediaAddress(PHONE_HOST, PHONE_PORT + 2 * call + side)
            await engine.set_stream(leg.handle, StreamSettings(send=both, receive=both, remote=remote, cname="bench"))
            await engine.bridge_add(bridge, leg.handle)
            ports.append(leg.rtp_port)
    print(json.dumps({"ports": ports, "memory_before_kb": memory_before_kb}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await engine.stop()


# --- rtpengine by its ng protocol: one bencoded dictionary per datagram, behind a cookie


def bencode(value: str | bytes | int | list[str] | dict[str, object]) -> bytes:
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(bencode(item) for item in value) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(item) for key, item in sorted(value.items())) + b"e"  # type: ignore[arg-type]


def ask(channel: socket.socket, cookie: int, message: dict[str, object]) -> int:
    """The media port in the answer's SDP."""
    channel.send(b"%d %s" % (cookie, bencode(message)))
    reply = channel.recv(65_535)
    at = reply.find(b"m=audio ")
    if at < 0:
        raise SystemExit(f"rtpengine refused: {reply[:200]!r}")
    return int(reply[at + 8 :].split(b" ", 1)[0])


def sdp(port: int, key: bytes = b"") -> str:
    """key: master key and salt of a phone that speaks SRTP."""
    crypto = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(key).decode()}\r\n" if key else ""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {PHONE_HOST}\r\ns=-\r\nc=IN IP4 {PHONE_HOST}\r\nt=0 0\r\n"
        f"m=audio {port} {'RTP/SAVP' if key else 'RTP/AVP'} 0\r\n{crypto}a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    )


@contextmanager
def rtpengine(folder: Path, streams: int, key: bytes = b"") -> Iterator[tuple[int, Ports, int]]:
    """key: every other phone speaks SRTP with it, as in load.c."""
    process = subprocess.Popen(
        [
            *on_core(0), "rtpengine", "--foreground", "--table=-1", "--no-fallback", "--log-level=2", "--log-stderr",
            f"--interface={SERVER_HOST}", f"--listen-ng=127.0.0.1:{NG_PORT}", "--num-threads=1",
            "--port-min=10000", "--port-max=19999", f"--pidfile={folder}/rtpengine.pid",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.settimeout(5)
    channel.connect(("127.0.0.1", NG_PORT))
    try:
        time.sleep(1.0)
        memory_before_kb = resident_kb(process.pid)
        ports: Ports = []
        for call in range(streams // 2):
            base: dict[str, object] = {"call-id": f"bench-{call}", "from-tag": "a", "ICE": "remove"}
            offer = {**base, "command": "offer", "sdp": sdp(PHONE_PORT + 2 * call, key)}
            if key:
                offer["transport-protocol"] = "RTP/AVP"
            answer = {**base, "command": "answer", "to-tag": "b", "sdp": sdp(PHONE_PORT + 2 * call + 1)}
            towards_b = ask(channel, 2 * call, offer)
            towards_a = ask(channel, 2 * call + 1, answer)
            ports += [(SERVER_HOST, towards_a), (SERVER_HOST, towards_b)]
        yield process.pid, ports, memory_before_kb
    finally:
        channel.close()
        process.send_signal(signal.SIGKILL)
        process.wait()


SERVERS = {"reflector": reflector, "mediaserver": ours, "rtpengine": rtpengine}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=SERVERS, action="append")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve))
        return
    names = args.only or [name for name in SERVERS if name != "rtpengine" or shutil.which("rtpengine")]
    results: dict[str, list[Result]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        load = build(Path(folder), "load")
        for _ in range(args.rounds):
            for name in names:
                with SERVERS[name](Path(folder), args.streams) as (pid, ports, memory_kb):
                    results[name].append(measure(load, pid, ports, args.seconds, memory_kb))
    medians = {
        name: Result(**{key: statistics.median(asdict(r)[key] for r in found) for key in asdict(found[0])})
        for name, found in results.items()
    }
    print(f"{'':12} {'µs/packet':>10} {'p50 µs':>8} {'p99 µs':>8} {'p99.9':>8} {'lost':>6} {'late':>6} {'KB/leg':>7}")
    for name, r in medians.items():
        print(
            f"{name:12} {r.cpu_us_per_packet:10.2f} {r.p50_us:8.0f} {r.p99_us:8.0f} {r.p999_us:8.0f} "
            f"{r.packets_lost:6.0f} {r.late_sends:6.0f} {r.memory_kb_per_leg:7.1f}"
        )
    if {"reflector", "mediaserver"} <= medians.keys():
        ratio = medians["mediaserver"].cpu_us_per_packet / medians["reflector"].cpu_us_per_packet
        print(f"ratio to the reflector {ratio:.2f} (at most {TARGET_RATIO})")
    if args.record:
        append(
            "relay",
            {
                "streams": args.streams,
                **{name: asdict(result) for name, result in medians.items()},
            },
        )


if __name__ == "__main__":
    main()
