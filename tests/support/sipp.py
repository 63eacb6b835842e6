"""Runs SIPp scenarios of `tests/support/sipp/` against a server and reads its statistics."""

from __future__ import annotations

import asyncio
import csv
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.speech import CACHE, speech

SCENARIOS = Path(__file__).with_name("sipp")


@dataclass(frozen=True)
class SippResult:
    exit_code: int
    successful: int
    failed: int
    retransmissions: int
    peak: int  # calls at once
    output: str


def raw_speech() -> Path:
    """Six seconds of PCMU without a header: what SIPp's rtp_stream plays."""
    path = CACHE / "sipp.ul"
    if not path.exists():
        subprocess.run(["sox", speech("ann", 8_000), "-t", "ul", str(path)], check=True)
    return path


PLAYING_MAX = 100  # calls of one SIPp that play something: 3.7 looks for a free pair of ports a hundred times
PORTS_PER_SIPP = 220


@functools.cache
def _names_its_ports() -> bool:
    told = subprocess.run(["sipp", "-h"], capture_output=True, text=True, check=False).stdout
    return "-min_rtp_port" in told


def media_ports(first: int) -> tuple[str, ...]:
    """Where SIPp's media lives: until 3.6 (Debian 12) its first port is named, from 3.7 on (Ubuntu 24.04) a range."""
    if _names_its_ports():
        return ("-min_rtp_port", str(first), "-max_rtp_port", str(first + PORTS_PER_SIPP - 1))
    return ("-mp", str(first))


async def run_sipp(
    folder: Path,
    scenario: str,
    target: str,
    *,
    service: str,
    calls: int,
    rate: float,
    at_once: int,
    talk_ms: int,
    port: int,
    media_port: int,
    host: str = "127.0.0.1",
    transport: str = "u1",
    timeout_s: float = 300,
) -> SippResult:
    """`calls` calls to `service`, `rate` new ones a second, at most `at_once`, each talking for `talk_ms`. Callers who
    play something share the work of several SIPps, from `port` and `media_port` upwards."""
    plays = "rtp_stream" in (SCENARIOS / f"{scenario}.xml").read_text()
    parts = -(-at_once // PLAYING_MAX) if plays else 1
    results = await asyncio.gather(
        *(
            _run(
                folder / str(part), scenario, target, service=service,
                calls=calls // parts + (part < calls % parts), rate=rate / parts,
                at_once=at_once // parts + (part < at_once % parts), talk_ms=talk_ms, port=port + part,
                media_port=media_port + part * PORTS_PER_SIPP, host=host, transport=transport, timeout_s=timeout_s,
            )
            for part in range(parts)
        )
    )  # fmt: skip
    return SippResult(
        max(result.exit_code for result in results),
        sum(result.successful for result in results),
        sum(result.failed for result in results),
        sum(result.retransmissions for result in results),
        sum(result.peak for result in results),
        "\n".join(result.output for result in results),
    )


async def _run(
    folder: Path,
    scenario: str,
    target: str,
    *,
    service: str,
    calls: int,
    rate: float,
    at_once: int,
    talk_ms: int,
    port: int,
    media_port: int,
    host: str,
    transport: str,
    timeout_s: float,
) -> SippResult:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"{scenario}.xml"
    script.write_text((SCENARIOS / f"{scenario}.xml").read_text().replace("@SPEECH@", str(raw_speech())))
    process = await asyncio.create_subprocess_exec(
        "sipp",
        target,
        "-sf",
        str(script),
        "-s",
        service,
        "-m",
        str(calls),
        "-r",
        str(rate),
        "-l",
        str(at_once),
        "-d",
        str(talk_ms),
        "-i",
        host,
        "-mi",
        host,
        "-p",
        str(port),
        *media_ports(media_port),
        "-t",
        transport,
        "-nostdin",
        "-trace_stat",
        "-stf",
        str(folder / "stat.csv"),
        "-fd",
        "1",
        "-trace_err",
        "-error_file",
        str(folder / "errors.log"),
        "-timeout",
        str(int(timeout_s)),
        "-timeout_error",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        stdin=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    assert (folder / "stat.csv").exists(), out.decode(errors="replace")[-1500:]
    with (folder / "stat.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    last = rows[-1]
    errors = folder / "errors.log"
    return SippResult(
        process.returncode or 0,
        int(last["SuccessfulCall(C)"]),
        int(last["FailedCall(C)"]),
        int(last["Retransmissions(C)"]),
        max(int(row["CurrentCall"]) for row in rows),
        (errors.read_text(errors="replace")[:2000] if errors.exists() else "") + out.decode(errors="replace")[-1500:],
    )
