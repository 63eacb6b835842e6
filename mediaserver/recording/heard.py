"""A party as the others heard it: its packets through the server's own jitter buffer, at the moments they came.

Owns the second way of reading a surveyed journal, beside `mixdown.LegPlayer` ("as sent"): late packets are late here,
lost ones concealed, delay is delay, and a playout that stretched or cut speech does it again. The buffer is the one
calls have, driven by the journal's arrival times in virtual time; what it had adapted to before the capture began, it
learns anew in its first second.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mediaserver.media.playback import PlayoutHarness
from mediaserver.recording.journal import Kind, records
from mediaserver.recording.timeline import NOT_AUDIO, Codec, Leg, Packet, parse_rtp
from mediaserver.recording.warp import Samples

FRAME_MS = 20  # the media plane's tick
FRAME_NS = FRAME_MS * 1_000_000
NAMES = {"pcmu": "PCMU", "pcma": "PCMA", "g722": "G722", "opus": "opus", "l16": "L16"}


class HeardPlayer:
    """Reads one surveyed journal as samples from `start_ns` on, as played. Blocks must be asked for in order."""

    def __init__(self, leg: Leg, start_ns: int, rate_hz: int) -> None:
        self._leg = leg
        self._rate_hz = rate_hz
        self._frame = rate_hz * FRAME_MS // 1_000
        self._now_ns = start_ns
        self._playout = PlayoutHarness(rate_hz=rate_hz)
        self._codecs: dict[int, Codec] = {}
        self._ssrc: int | None = None
        self._packets = self._audio()
        self._next: Packet | None = next(self._packets, None)
        self._rest = np.zeros(0, dtype=np.float32)
        self.packets_misplaced = 0  # came too late to be heard, or twice
        self.packets_undecodable = 0  # of a codec that is not known

    def read(self, samples: int) -> Samples:
        """The next float32[samples], int16 scale."""
        parts, have = [self._rest], len(self._rest)
        while have < samples:
            parts.append(self._tick())
            have += self._frame
        joined = np.concatenate(parts)
        self._rest = joined[samples:]
        return np.asarray(joined[:samples])

    def _tick(self) -> Samples:
        self._now_ns += FRAME_NS
        while self._next is not None and self._next.arrival_ns <= self._now_ns:
            packet, self._next = self._next, next(self._packets, None)
            self._put(packet)
        pcm, _ = self._playout.pull(self._now_ns, self._frame)
        return pcm.astype(np.float32)

    def _put(self, packet: Packet) -> None:
        if packet.ssrc != self._ssrc:  # another source: as in a call, nothing of the one before is waited for
            if self._ssrc is not None:
                self._playout.restart()
            self._ssrc = packet.ssrc
        codec = self._leg.codecs.find(packet.payload_type, packet.arrival_ns)
        assert codec is not None
        if self._codecs.get(packet.payload_type) != codec and not self._learn(packet.payload_type, codec):
            self.packets_undecodable += 1
            return
        put = self._playout.put(
            packet.sequence, packet.timestamp, packet.payload, packet.payload_type, arrival_ns=packet.arrival_ns
        )
        self.packets_misplaced += put in ("late", "duplicate")
        self.packets_undecodable += put == "bad"

    def _learn(self, payload_type: int, codec: Codec) -> bool:
        name = NAMES.get(codec.name)
        if name is None:
            return False
        wanted = self._rate_hz if name == "opus" else 0
        known = self._playout.set_codec(payload_type, name, rate_hz=wanted, clock_hz=codec.clock_hz)
        if known:
            self._codecs[payload_type] = codec
        return known

    def _audio(self) -> Iterator[Packet]:
        for record in records(self._leg.path, self._leg.key):
            packet = parse_rtp(record) if record.kind == Kind.RTP else None
            if packet is None:
                continue
            codec = self._leg.codecs.find(packet.payload_type, packet.arrival_ns)
            if codec is not None and codec.name not in NOT_AUDIO:
                yield packet
