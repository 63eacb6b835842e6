"""From one journal to samples on the server's time line: the second pass, streaming, in seconds of memory.

Owns reordering, decoding, gaps and placement of one leg. What the pieces and curves are, `timeline.py` has found.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import soxr

from mediaserver.codecs.audio import Codec as AudioCodec
from mediaserver.limits import REORDER_NS_MAX
from mediaserver.recording.journal import Kind, Record, records
from mediaserver.recording.timeline import NOT_AUDIO, Leg, Packet, Piece, Unwrapper, parse_rtp
from mediaserver.recording.warp import AFTER, BEFORE, Samples, warp

WIDEBAND = frozenset({"g722", "opus"})
_NOTHING: npt.NDArray[np.int16] = np.zeros(0, dtype=np.int16)
Sources = Mapping[int, Unwrapper]
_NO_SOURCES: Sources = {}
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


def is_wideband(piece: Piece) -> bool:
    return piece.codec.name in WIDEBAND or (piece.codec.name == "l16" and piece.codec.clock_hz > 8_000)


class LegPlayer:
    """Reads one surveyed journal as samples from `start_ns` on. Blocks must be asked for in order."""

    def __init__(
        self, leg: Leg, start_ns: int, rate_hz: int, begin: int = 0, offset: int = 0, sources: Sources = _NO_SOURCES
    ) -> None:
        """begin: the first sample asked for. offset: where in the file to read from, and what is known of SSRCs there.

        A decoder that begins in the middle has to be heard for a second or two before it says the same.
        """
        self._leg = leg
        self._start_ns = start_ns
        self._rate_hz = rate_hz
        self._offset = offset
        self._players = [PiecePlayer(piece, start_ns, rate_hz) for piece in leg.pieces]
        self._by_ssrc: dict[int, tuple[list[int], list[PiecePlayer]]] = {}
        for player in self._players:
            firsts, players = self._by_ssrc.setdefault(player.piece.ssrc, ([], []))
            firsts.append(player.piece.first_sequence)
            players.append(player)
        if begin:
            self._players = [player for player in self._players if not player.done(begin)]
            for player in self._players:
                player.begin_at(begin)
        self._unwrappers: dict[int, Unwrapper] = {ssrc: one.copy() for ssrc, one in sources.items()}
        self._records = self._packets(leg)
        self._next: Packet | None = next(self._records, None)
        self._position = begin
        self.packets_misplaced = 0  # late by more than REORDER_NS_MAX, or of no piece
        self.packets_undecodable = 0

    def read(self, samples: int) -> Samples:
        """The next float32[samples], silence where nothing was captured; int16 scale."""
        first, self._position = self._position, self._position + samples
        self._pump(self._start_ns + self._position * 1_000_000_000 // self._rate_hz + REORDER_NS_MAX)
        block = np.zeros(samples, dtype=np.float32)
        for player in self._players:
            if player.begins < self._position and not player.done(first):
                player.add_to(block, first)
        finished = [player for player in self._players if player.done(self._position)]
        for player in finished:
            self.packets_undecodable += player.undecodable
            player.release()
            self._players.remove(player)
        return block

    def _packets(self, leg: Leg) -> Iterator[Packet]:
        for record in records(leg.path, leg.key, start=self._offset):
            packet = self._audio(record)
            if packet is not None:
                yield packet

    def _audio(self, record: Record) -> Packet | None:
        if record.kind != Kind.RTP:
            return None
        packet = parse_rtp(record)
        if packet is None:
            return None
        codec = self._leg.codecs.find(packet.payload_type, packet.arrival_ns)
        return None if codec is None or codec.name in NOT_AUDIO else packet

    def _pump(self, until_ns: int) -> None:
        """Hands every packet that arrived until then to its piece."""
        while self._next is not None and self._next.arrival_ns <= until_ns:
            packet, self._next = self._next, next(self._records, None)
            unwrapper = self._unwrappers.get(packet.ssrc)
            if unwrapper is None:
                unwrapper = self._unwrappers[packet.ssrc] = Unwrapper(packet)
            sequence, timestamp = unwrapper.extend(packet)
            firsts, players = self._by_ssrc.get(packet.ssrc, ([], []))
            index = bisect_right(firsts, sequence) - 1
            if index < 0 or not players[index].push(sequence, timestamp, packet.payload):
                self.packets_misplaced += 1


class PiecePlayer:
    """One piece: packets in, samples on the output's grid out."""

    def __init__(self, piece: Piece, start_ns: int, rate_hz: int) -> None:
        self.piece = piece
        self._rate_hz = rate_hz
        self._start_ns = start_ns
        self._rtp, self._server = piece.curve(rate_hz)
        self.begins = self._output(0)
        self._ends = self._output(piece.rtp_ns(piece.last_timestamp) + 120_000_000)  # + the longest packet there is
        self._heap: list[tuple[int, int, bytes]] = []
        self._last_sequence = -1
        self._decoder: AudioCodec | None = None
        self._no_decoder = False
        self._resampler: soxr.ResampleStream | None = None
        self._decoded = 0  # samples at the codec's rate since the piece began
        self._samples: list[Samples] = [np.zeros(BEFORE, dtype=np.float32)]  # room for the first window
        self._have = 0  # samples at rate_hz since the piece began, in _samples or gone
        self._gone = -BEFORE  # index of the first sample still held
        self.undecodable = 0

    def begin_at(self, first: int) -> None:
        """Output sample `first` is the first that is asked for: nothing before it is decoded to be kept."""
        if first <= self.begins:
            return
        position = max(0, int(self._positions(first, first + 1)[0]) - BEFORE - 2)
        codec_rate = self._codec_rate()
        self._decoded = position * codec_rate // self._rate_hz
        self._have = self._decoded * self._rate_hz // codec_rate
        self._gone = self._have - BEFORE

    def push(self, sequence: int, timestamp: int, payload: bytes) -> bool:
        """False: the packet does not belong here."""
        if not self.piece.first_sequence <= sequence <= self.piece.last_sequence:
            return False
        if sequence <= self._last_sequence:
            return False
        heapq.heappush(self._heap, (sequence, timestamp, payload))
        return True

    def done(self, position: int) -> bool:
        return position >= self._ends and not self._heap

    def release(self) -> None:
        self._samples = []
        self._decoder = self._resampler = None

    def add_to(self, block: Samples, first: int) -> None:
        """Adds what this piece holds for output samples first .. first + len(block)."""
        skip = max(0, self.begins - first)
        positions = self._positions(first + skip, first + len(block))
        # Where the curve starts between two samples, the first position may lie just before the first sample.
        np.maximum(positions, 0.0, out=positions)
        last = int(positions[-1]) + AFTER + 2
        self._fill(last)
        held = self._samples[0] if len(self._samples) == 1 else np.concatenate(self._samples)
        self._samples = [held]
        block[skip:] += warp(held, positions - self._gone)
        keep_from = int(positions[-1]) - BEFORE - 2
        if keep_from > self._gone:
            self._samples = [held[keep_from - self._gone :]]
            self._gone = keep_from

    def _positions(self, first: int, end: int) -> npt.NDArray[np.float64]:
        """Where in the piece (samples at rate_hz since its first packet) each output sample is."""
        server_ns = self._start_ns + np.arange(first, end) * (1e9 / self._rate_hz)
        rtp_ns = np.interp(server_ns, self._server, self._rtp)
        # Outside the knots the clock runs on at its nominal rate.
        before, after = server_ns < self._server[0], server_ns > self._server[-1]
        rtp_ns[before] = server_ns[before] - self._server[0] + self._rtp[0]
        rtp_ns[after] = server_ns[after] - self._server[-1] + self._rtp[-1]
        positions = rtp_ns * (self._rate_hz / 1e9)
        # Nanoseconds in float64 are whole samples only to 1e-6: level parts of the curve must copy, not interpolate.
        return np.asarray(np.round(positions, 4))

    def _output(self, rtp_ns: float) -> int:
        """Output sample at which this RTP time stands; may be negative."""
        if rtp_ns <= self._rtp[0]:
            server_ns = float(self._server[0] + rtp_ns - self._rtp[0])
        elif rtp_ns >= self._rtp[-1]:
            server_ns = float(self._server[-1] + rtp_ns - self._rtp[-1])
        else:
            server_ns = float(np.interp(rtp_ns, self._rtp, self._server))
        return round((server_ns - self._start_ns) * self._rate_hz / 1e9)

    def _fill(self, until: int) -> None:
        """Decodes until sample `until` of the piece at rate_hz, or fills up with silence."""
        while self._have < until:
            codec_rate = self._codec_rate()
            wanted = until * codec_rate // self._rate_hz + codec_rate // 20  # the resampler holds some back
            if self._heap:
                sequence, timestamp, payload = self._heap[0]
                at = (timestamp - self.piece.first_timestamp) * codec_rate // self.piece.codec.clock_hz
                if at < wanted:
                    heapq.heappop(self._heap)
                    self._take(sequence, at, payload)
                    continue
            self._append(np.zeros(max(1, wanted - self._decoded), dtype=np.float32))

    def _take(self, sequence: int, at: int, payload: bytes) -> None:
        if sequence == self._last_sequence:  # twice
            return
        self._last_sequence = sequence
        if at > self._decoded:
            self._append(np.zeros(at - self._decoded, dtype=np.float32))
        try:
            pcm = _NOTHING if self._decoder is None else self._decoder.decode(payload)
        except ValueError:
            self.undecodable += 1
            return
        overlap = max(0, self._decoded - at)
        if len(pcm) > overlap:
            self._append(pcm[overlap:].astype(np.float32))

    def _append(self, samples: Samples) -> None:
        self._decoded += len(samples)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        if len(samples):
            self._samples.append(samples)
            self._have += len(samples)

    def _codec_rate(self) -> int:
        if self._decoder is None and not self._no_decoder:
            codec = self.piece.codec
            wanted = self._rate_hz if codec.name == "opus" and self._rate_hz in OPUS_RATES else 0
            try:
                self._decoder = AudioCodec(codec.name, rate_hz=wanted, clock_hz=codec.clock_hz)
            except ValueError:  # a codec or clock of a newer server: silence of the right length
                self._no_decoder = True
            else:
                if self._decoder.rate_hz != self._rate_hz:
                    self._resampler = soxr.ResampleStream(self._decoder.rate_hz, self._rate_hz, 1, dtype="float32")
        return self._rate_hz if self._decoder is None else int(self._decoder.rate_hz)
