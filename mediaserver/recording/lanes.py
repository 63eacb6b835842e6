"""What happened in a recording, as data beside its audio: levels, silence, overtalk, keys, holds, pauses; and peaks.

Owns the lanes' JSON and the peaks' file. Fed with blocks of samples on the render's time line, one per party. MOS is
not here: it was measured in the call and stands in the database.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from mediaserver.recording.timeline import Leg

STEP_S = 0.1  # one level
SPEECH_DBOV = -45.0  # over it somebody speaks; a quiet talker is at -35, room noise on a handset under -55
SILENCE_S_MIN = 2.0  # shorter ones are breathing
OVERTALK_S_MIN = 0.3  # shorter ones are yes and mhm
BEFORE_NS = 10_000_000_000  # an attended transfer brings the new party in first, and lets it hear the notice
PEAK_ZOOMS_MS = (20, 200, 2_000)  # one pixel of a minute, of ten, of two hours on a wide screen
PEAKS_MAGIC = b"MSPEAKS1"
Samples = npt.NDArray[np.float32]


class Levels:
    """RMS of each 100 ms of each party, dBov (RFC 6465: 0 is full scale), -127 for silence."""

    def __init__(self, parties: int, rate_hz: int) -> None:
        self._step = round(rate_hz * STEP_S)
        self._rest: list[Samples] = [np.zeros(0, dtype=np.float32)] * parties
        self.dbov: list[list[int]] = [[] for _ in range(parties)]

    def take(self, blocks: Sequence[Samples]) -> None:
        for index, block in enumerate(blocks):
            samples = np.concatenate((self._rest[index], block))
            whole = len(samples) // self._step
            frames = samples[: whole * self._step].reshape(whole, self._step)
            self._rest[index] = samples[whole * self._step :]
            power = np.mean(np.square(frames, dtype=np.float64), axis=1) / 32_768.0**2
            level = np.where(power > 0, 10 * np.log10(np.maximum(power, 1e-13)), -127.0)
            self.dbov[index] += np.rint(np.clip(level, -127, 0)).astype(int).tolist()


def stretches(flags: npt.NDArray[np.bool_], shortest_s: float) -> list[list[float]]:
    """[from, to] in seconds of every run of True that lasts so long."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    runs = edges.reshape(-1, 2) * STEP_S
    return [[round(a, 3), round(b, 3)] for a, b in runs.tolist() if b - a >= shortest_s - 1e-9]


class Target(Protocol):
    """Where a render goes: a file, or one that seals. Written in order."""

    def write(self, data: bytes, /) -> int: ...
    def close(self) -> None: ...


class LaneSink:
    """Writes the JSON when it is closed."""

    def __init__(self, target: Target, legs: Sequence[Leg], start_ns: int, rate_hz: int, wall: float) -> None:
        self._target, self._legs, self._start_ns, self._wall = target, legs, start_ns, wall
        self._levels = Levels(len(legs), rate_hz)

    def __enter__(self) -> Self:
        return self

    def write_blocks(self, blocks: Sequence[Samples]) -> None:
        self._levels.take(blocks)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._target.write(json.dumps(self.lanes(), separators=(",", ":")).encode())
        self._target.close()

    def lanes(self) -> dict[str, Any]:
        speaks = np.array(self._levels.dbov, dtype=np.int16) > SPEECH_DBOV
        length_s = round(speaks.shape[1] * STEP_S, 3)
        talking = speaks.sum(axis=0)
        return {
            "version": 1,
            "start": round(self._wall, 3),
            "length": length_s,
            "parties": [self._party(leg, dbov) for leg, dbov in zip(self._legs, self._levels.dbov, strict=True)],
            "silence": stretches(talking == 0, SILENCE_S_MIN),
            "overtalk": stretches(talking > 1, OVERTALK_S_MIN),
            "pauses": self._gaps("paused"),
            "waits": self._gaps("joined"),
            "transfers": self._transfers(),
        }

    def _party(self, leg: Leg, dbov: list[int]) -> dict[str, Any]:
        return {
            "leg": str(leg.header.get("leg", "")),
            "role": str(leg.header.get("role", "")),
            "level": {"step": STEP_S, "dbov": dbov},
            "captured": [
                {
                    "from": self._at(window.from_ns),
                    "to": self._at(window.to_ns),
                    "until": window.reason,
                    "evidence": window.evidence,
                }
                for window in leg.windows
            ],
            "keys": [self._at(at_ns) for at_ns in leg.keys_ns],  # when, not which: they may be a card's number
            "held": self._held(leg),
            "damaged": [[self._at(from_ns), self._at(to_ns)] for from_ns, to_ns in leg.damaged],
            "prompts": [
                {
                    "from": self._at(prompt["started_ns"]),
                    "to": self._at(prompt["ended_ns"]),
                    "name": prompt["name"],
                    "sha256": prompt.get("sha256"),
                }
                for prompt in leg.prompts
            ],
        }

    def _held(self, leg: Leg) -> list[list[float]]:
        found: list[list[float]] = []
        since: float | None = None
        for at_ns, values in leg.events:
            held = values.get("held")
            if held is True and since is None:
                since = self._at(at_ns)
            elif held is False and since is not None:
                found.append([since, self._at(at_ns)])
                since = None
        return found if since is None else [*found, [since, self._at(leg.closed_ns)]]

    def _gaps(self, reason: str) -> list[dict[str, Any]]:
        """Where somebody was not captured because of this: of all parties, each stretch once."""
        found: dict[tuple[float, float], str] = {}
        for leg in self._legs:
            for before, after in zip(leg.windows, leg.windows[1:], strict=False):
                if before.reason.startswith(reason):
                    found[(self._at(before.to_ns), self._at(after.from_ns))] = before.reason
        return [{"from": a, "to": b, "reason": why} for (a, b), why in sorted(found.items())]

    def _transfers(self) -> list[dict[str, Any]]:
        """A party left, the call went on, and another came in its place: blind, after it; attended, just before.

        from: when the one left; to: when the other is captured, after its own notice.
        """
        legs = [leg for leg in self._legs if leg.windows and leg.header.get("kind") == "call"]
        gone = [(leg.windows[-1].to_ns, leg) for leg in legs if leg.windows[-1].reason == "left"]
        found: list[dict[str, Any]] = []
        came = sorted(((leg.opened_ns, leg) for leg in legs), key=lambda item: item[0])
        for left_ns, leg in sorted(gone, key=lambda item: item[0]):
            stays = any(other is not leg and other.closed_ns > left_ns for other in legs)
            place = next((item for item in came if item[0] > max(leg.opened_ns, left_ns - BEFORE_NS)), None)
            if stays and place is not None and place[1] is not leg:
                came.remove(place)
                times = {"from": self._at(left_ns), "to": self._at(max(left_ns, place[0]))}
                found.append({**times, "left": _name(leg), "came": _name(place[1])})
        return found

    def _at(self, at_ns: int) -> float:
        return round((at_ns - self._start_ns) / 1e9, 3)


def _name(leg: Leg) -> str:
    return str(leg.header.get("leg", ""))


class PeakSink:
    """Smallest and largest sample of each stretch, at several zooms, one file.

    `MSPEAKS1`, count of zooms (uint32), for each zoom samples per pixel, offset and size (uint32 each); then the zooms,
    each an audiowaveform data file of version 2, 8 bit. Little-endian.
    """

    def __init__(self, target: Target, parties: int, rate_hz: int) -> None:
        self._target, self._rate_hz = target, rate_hz
        self._parties = parties
        self._fine = round(rate_hz * PEAK_ZOOMS_MS[0] / 1_000)
        self._rest: list[Samples] = [np.zeros(0, dtype=np.float32)] * parties
        self._pairs: list[list[npt.NDArray[np.int8]]] = [[] for _ in range(parties)]

    def __enter__(self) -> Self:
        return self

    def write_blocks(self, blocks: Sequence[Samples]) -> None:
        for index, block in enumerate(blocks):
            samples = np.concatenate((self._rest[index], block))
            whole = len(samples) // self._fine
            frames = samples[: whole * self._fine].reshape(whole, self._fine)
            self._rest[index] = samples[whole * self._fine :]
            if whole:
                pair = np.stack((frames.min(axis=1), frames.max(axis=1)), axis=1) / 256
                self._pairs[index].append(np.clip(np.rint(pair), -128, 127).astype(np.int8))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._target.write(self._file())
        self._target.close()

    def _file(self) -> bytes:
        fine = [np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int8) for pairs in self._pairs]
        zooms = [
            (self._fine * ms // PEAK_ZOOMS_MS[0], self._zoom(fine, ms // PEAK_ZOOMS_MS[0])) for ms in PEAK_ZOOMS_MS
        ]
        offset = len(PEAKS_MAGIC) + 4 + 12 * len(zooms)
        head, body = PEAKS_MAGIC + struct.pack("<I", len(zooms)), b""
        for pixel, data in zooms:
            head += struct.pack("<III", pixel, offset + len(body), len(data))
            body += data
        return head + body

    def _zoom(self, fine: Sequence[npt.NDArray[np.int8]], factor: int) -> bytes:
        columns = []
        for pairs in fine:
            padded = np.pad(pairs, ((0, -len(pairs) % factor), (0, 0)), mode="edge") if len(pairs) else pairs
            groups = padded.reshape(-1, factor, 2)
            columns.append(np.stack((groups[:, :, 0].min(axis=1), groups[:, :, 1].max(axis=1)), axis=1))
        data = np.stack(columns, axis=1)  # pixel, party, (least, largest)
        return (
            struct.pack("<iIiiIi", 2, 1, self._rate_hz, self._fine * factor, len(data), self._parties) + data.tobytes()
        )
