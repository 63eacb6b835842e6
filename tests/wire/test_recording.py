"""Consented recording on the wire: the notice first, then the talk, whole, in step, through crashes and shutdowns."""

from __future__ import annotations

import asyncio
import threading
import time
import wave
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.listen import tone_levels_db
from tests.support.rawcall import RawCall
from tests.support.server import Server
from tests.support.speech import tone
from tests.wire.conftest import Phones

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXTRA_CONFIG = """
[trunks.raw]
uri = "sip:127.0.0.1:5998"
allow_from = ["127.0.0.1"]
"""


ROUTES = """
[[route]]
name = "asked"
number = "4bob"
user = "bob"
record = true
consent = "announce-and-press"
"""


def stereo(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path), "rb") as file:
        assert file.getnchannels() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return file.getframerate(), samples.astype(np.float64) / 32768


def sounding(samples: np.ndarray, rate: int, frequency: float) -> tuple[float, float]:
    """First and last second in which the tone is there, in 20 ms steps."""
    block = rate // 50
    there = [
        at / rate
        for at in range(0, len(samples) - block, block)
        if tone_levels_db(samples[at : at + block], rate, (frequency,))[frequency] > -30
    ]
    assert there, f"no {frequency} Hz in the recording"
    return there[0], there[-1] + 0.02


async def newest(server: Server, state: str | None = None) -> dict[str, Any]:
    for _ in range(50):
        found = await server.recordings()
        if found and (state is None or found[0]["state"] == state):
            return found[0]
        await asyncio.sleep(0.2)
    raise AssertionError(f"no recording in state {state}: {await server.recordings()}")


def wrong_bytes_on_disk(folder: Path, needle: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


async def talk_until(phones: Phones, number: str, seconds_after_notice: float) -> tuple[Any, Any, float]:
    """ann (500 Hz) calls `number`, which rings bob (800 Hz); returns both phones and how long they were connected."""
    callee = await phones.pjsua("bob", "PCMU", says=tone(phones.folder / "b.wav", 800.0, 120, 16_000), loop=True)
    caller = await phones.pjsua("ann", "PCMU", says=tone(phones.folder / "a.wav", 500.0, 120, 16_000), loop=True)
    await caller.dial(f"sip:{number}@{phones.server.sip}")
    await callee.wait_for("state", text="CONFIRMED", timeout_s=40)
    start = asyncio.get_running_loop().time()
    for _ in range(300):
        calls = await phones.server.calls()
        if calls and calls[0]["recording"]:
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("the recording never began")
    await asyncio.sleep(seconds_after_notice)
    return caller, callee, asyncio.get_running_loop().time() - start


async def test_the_export_is_as_long_as_the_talk_and_both_sides_are_in_step(phones: Phones, tmp_path: Path) -> None:
    caller, callee, _ = await talk_until(phones, "2bob", 8)
    await caller.do("hangup")
    await callee.wait_for("closed")
    found = await newest(phones.server, "complete")
    for form in ("wav", "opus"):
        out = tmp_path / f"export.{form}"
        code, text, err = await phones.server.cli(
            "recordings", "export", found["id"], "--format", form, "--output", str(out)
        )
        assert code == 0, text + err
        assert out.stat().st_size > 10_000
    code, text, err = await phones.server.cli("recordings", "verify", found["id"])
    assert code == 0, text + err
    rate, samples = stereo(tmp_path / "export.wav")
    length = len(samples) / rate
    assert abs(length - found["length_s"]) <= 0.02
    first, last = sounding(samples[:, 0], rate, 500.0), sounding(samples[:, 1], rate, 800.0)
    print(length, found["length_s"], first, last)
    # Both talk from the end of the notice to the hang-up: each channel sounds over the whole length.
    for begin, end in (first, last):
        assert begin < 0.1
        assert length - end < 0.1
    assert tone_levels_db(samples[:, 0], rate, (800.0,))[800.0] < -60, "the callee is not on the caller's channel"


async def test_nothing_is_captured_of_a_caller_who_hangs_up_during_the_notice(phones: Phones) -> None:
    marker = bytes([0x5A]) * 160  # a PCMU payload no phone makes
    before = len(await phones.server.recordings())
    await phones.pjsua("bob", "PCMU")

    def call() -> None:
        caller = RawCall((phones.server.host, phones.server.base_port), "2bob")
        try:
            assert caller.dial() == 200
            caller.talk([marker] * 75)  # 1.5 s: the notice is longer
            caller.hang_up()
        finally:
            caller.close()

    await asyncio.to_thread(call)
    await asyncio.sleep(1)
    assert wrong_bytes_on_disk(phones.server.folder / "data", marker) == []
    audible = [
        r
        for r in (await phones.server.recordings())[: len(await phones.server.recordings()) - before]
        if r["length_s"] > 0
    ]
    assert audible == []


async def test_what_is_said_and_typed_during_a_pause_is_in_no_channel_and_the_gap_is_proven(
    phones: Phones, tmp_path: Path
) -> None:
    """bob, one of our users, presses *1 before a card number is said and *2 after it; both talk all the time."""
    caller, callee, _ = await talk_until(phones, "2bob", 2)
    await callee.do("digits", digits="*1")
    await asyncio.sleep(2.5)
    await caller.do("digits", digits="4000123")
    await asyncio.sleep(1)
    await callee.do("digits", digits="*2")
    await asyncio.sleep(2.5)
    await caller.do("hangup")
    await callee.wait_for("closed")
    found = await newest(phones.server, "complete")
    out = tmp_path / "export.wav"
    code, text, err = await phones.server.cli("recordings", "export", found["id"], "--output", str(out))
    assert code == 0, text + err
    rate, samples = stereo(out)
    frames = [np.any(samples[at : at + rate // 50]) for at in range(0, len(samples) - rate // 50, rate // 50)]
    silences = sorted((len(list(run)) / 50 for audible, run in groupby(frames) if not audible), reverse=True)
    assert 2.5 <= silences[0] <= 6, silences  # the pause, silent all through
    assert sum(silences[1:]) < 0.5, silences  # beside it at most where both voices take breath
    code, text, err = await phones.server.cli("recordings", "verify", found["id"])
    assert code == 0, text + err
    for journal in ("1.journal", "2.journal"):
        assert f"{journal}: nothing was stored for" in text
    assert "(paused: keypad)" in text


async def test_who_presses_1_is_recorded_and_who_presses_2_talks_unrecorded(phones: Phones, tmp_path: Path) -> None:
    callee = await phones.pjsua("bob", "PCMU", says=tone(phones.folder / "b.wav", 800.0, 120, 16_000), loop=True)
    caller = await phones.pjsua("ann", "PCMU", says=tone(phones.folder / "a.wav", 500.0, 120, 16_000), loop=True)
    await caller.dial(f"sip:4bob@{phones.server.sip}")
    await caller.wait_for("state", text="CONFIRMED")
    await answer_after_the_notice(caller, "1")
    await callee.wait_for("state", text="CONFIRMED", timeout_s=40)
    await answer_after_the_notice(callee, "2")
    await asyncio.sleep(3)
    assert (await callee.stats())["received"] > 50  # they talk
    await caller.do("hangup")
    await callee.wait_for("closed")
    found = await newest(phones.server, "complete")
    code, text, err = await phones.server.cli("recordings", "verify", found["id"])
    assert code == 0, text + err
    assert "1.journal: " in text
    assert "2.journal" not in text
    out = tmp_path / "export.wav"
    code, text, err = await phones.server.cli("recordings", "export", found["id"], "--output", str(out))
    assert code == 0, text + err
    with wave.open(str(out)) as file:
        assert file.getnchannels() == 1
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64) / 32768
        levels = tone_levels_db(samples[-8_000:], file.getframerate(), (500.0, 800.0))
    assert levels[500.0] > -30
    assert levels[800.0] < -60


async def answer_after_the_notice(phone: Any, key: str) -> None:
    """The question takes some four seconds; a key pressed before its end is no answer, and then there are ten."""
    await asyncio.sleep(6)
    await phone.do("digits", digits=key)


def numbered_frame(number: int) -> bytes:
    """20 ms of PCMU that say which frame they are: silence, then 14 bits, ten samples each, positive for a one."""
    return b"\xff" * 20 + b"".join(bytes([0x90 if number >> bit & 1 else 0x10]) * 10 for bit in range(14))


def numbers_in(samples: np.ndarray) -> list[tuple[int, int]]:
    """(sample at which it ends, number) of every whole `numbered_frame`; the export may have moved them by drift."""
    loud = np.abs(samples) > 0.1
    edges = np.flatnonzero(np.diff(np.concatenate(([0], loud.astype(int), [0]))))
    ends, starts = edges[1::2], edges[::2]
    found = []
    for start, silent_since in zip(starts, [-20, *ends[:-1]], strict=True):
        bits = samples[start : start + 140]
        if start - silent_since >= 10 and len(bits) == 140:
            levels = bits.reshape(14, 10)[:, 2:8].mean(axis=1)
            found.append((int(start) + 140, int(((levels > 0) * (1 << np.arange(14))).sum())))
    return found


async def test_kill_9_in_mid_call_loses_at_most_200_ms(phones: Phones, tmp_path: Path) -> None:
    """Every 20 ms of the caller carry their number, and we know on the clock of the kill when each was sent."""
    callee = await phones.pjsua("bob", "PCMU", says=tone(phones.folder / "b.wav", 800.0, 120, 16_000), loop=True)
    caller = RawCall((phones.server.host, phones.server.base_port), "2bob")
    over = threading.Event()
    sent_ns: list[int] = []

    def speak() -> None:
        start = time.monotonic_ns()
        while not over.is_set():
            time.sleep(max(0, start + len(sent_ns) * 20_000_000 - time.monotonic_ns()) / 1e9)
            caller.rtp.sendto(caller.next_packet(numbered_frame(len(sent_ns))), caller.media)
            sent_ns.append(time.monotonic_ns())

    try:
        assert await asyncio.to_thread(caller.dial) == 200
        speaking = asyncio.create_task(asyncio.to_thread(speak))
        recording = False
        while not recording:
            assert len(sent_ns) < 2_000, "the recording never began"
            recording = any(call["recording"] for call in await phones.server.calls())
        began = len(sent_ns)
        while len(sent_ns) < began + 200:  # four seconds
            await asyncio.sleep(0.005)
        killed_ns = time.monotonic_ns()
        phones.server.kill()
        assert phones.server.process is not None
        await phones.server.process.wait()
        over.set()
        await speaking
    finally:
        over.set()
        caller.close()
    await callee.do("hangup")
    await phones.server.run()
    found = await newest(phones.server, "recovered")
    out = tmp_path / "export.wav"
    code, text, err = await phones.server.cli(
        "recordings", "export", found["id"], "--format", "wav", "--output", str(out)
    )
    assert code == 0, text + err
    rate, samples = stereo(out)
    assert rate == 8_000
    kept = numbers_in(samples[:, 0])
    numbers = [number for _, number in kept]
    assert numbers[0] < began, "it was told to be recording when it was"
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "nothing is missing before the end"
    missing_ms = (killed_ns - sent_ns[numbers[-1]]) / 1e6
    _, callee_end = sounding(samples[:, 1], rate, 800.0)
    # The callee's tone tells no time of its own: measured from the caller's last frame on the export's time line.
    callee_missing_ms = missing_ms + (kept[-1][0] / rate - 0.02 - callee_end) * 1000
    print(f"{len(numbers)} frames; missing: caller {missing_ms:.1f} ms, callee {callee_missing_ms:.1f} ms")
    assert missing_ms <= 200
    assert callee_missing_ms <= 200


async def test_sigterm_refuses_new_calls_waits_and_keeps_the_recording(phones: Phones) -> None:
    caller, callee, _ = await talk_until(phones, "2bob", 3)
    assert phones.server.process is not None
    phones.server.process.terminate()
    await asyncio.sleep(0.5)
    refused = RawCall((phones.server.host, phones.server.base_port), "603")
    try:
        assert await asyncio.to_thread(refused.dial) == 503
    finally:
        refused.close()
    assert not await phones.server.ready()
    await caller.wait_for("closed", timeout_s=15)  # drain_timeout_s = 2: the server ends the call properly, by BYE
    await callee.wait_for("closed")
    assert await phones.server.process.wait() == 0
    await phones.server.run()
    found = await newest(phones.server, "complete")
    assert found["length_s"] > 4
