"""A playout with its own packet pool, for Python: tests, simulations, benchmarks in virtual time."""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

import numpy as np

from mediaserver.codecs.audio cimport CodecConfig
from mediaserver.ext.packet cimport (
    PACKET_BYTES, Packet, PacketPool, packet_pool_free, packet_pool_init, packet_release, packet_take,
)
from mediaserver.ext.playout cimport (
    PUT_QUEUED, Playout, PlayoutConfig, PlayoutPut, PlayoutStats, playout_clear_codecs, playout_free,
    playout_line_bytes, playout_new, playout_note, playout_observe, playout_pull, playout_put, playout_restart,
    playout_set_codec, playout_set_rate, playout_stats,
)

from mediaserver.codecs.audio import CODEC_IDS

cdef enum:
    HEADER_BYTES = 12

PUT_NAMES = ("queued", "late", "duplicate", "overflow", "bad")
KIND_NAMES = ("silence", "voice", "concealed", "comfort")


cdef class PlayoutHarness:
    cdef Playout* playout
    cdef PacketPool pool
    cdef int rate_hz

    def __cinit__(self, *, int min_delay_ms=20, int max_delay_ms=500, int rate_hz=8000, int capacity=512):
        cdef PlayoutConfig config
        config.min_delay_ms = min_delay_ms
        config.max_delay_ms = max_delay_ms
        config.rate_hz = rate_hz
        self.rate_hz = rate_hz
        if packet_pool_init(&self.pool, capacity) != 0:
            raise MemoryError
        self.playout = playout_new(&config)
        if self.playout is NULL:
            raise MemoryError

    def __dealloc__(self):
        playout_free(self.playout, &self.pool)
        packet_pool_free(&self.pool)

    def close(self):
        playout_free(self.playout, &self.pool)
        self.playout = NULL

    def set_codec(self, int payload_type, str name, *, int rate_hz=0, int clock_hz=0):
        cdef CodecConfig config
        memset(&config, 0, sizeof(config))
        config.codec_id = CODEC_IDS[name]
        config.rate_hz = rate_hz
        config.clock_hz = clock_hz
        return playout_set_codec(self.playout, payload_type, &config) == 0

    def clear_codecs(self):
        playout_clear_codecs(self.playout)

    def set_rate(self, int rate_hz):
        self.rate_hz = rate_hz
        playout_set_rate(self.playout, rate_hz)

    def restart(self):
        playout_restart(self.playout, &self.pool)

    def put(self, int sequence, timestamp, const uint8_t[::1] payload, int payload_type=0, bint marker=False,
            int64_t arrival_ns=0):
        cdef Packet* packet = packet_take(&self.pool)
        cdef int size = <int> payload.shape[0]
        cdef PlayoutPut result
        if packet is NULL:
            return "pool"
        if size > PACKET_BYTES - HEADER_BYTES:
            packet_release(&self.pool, packet)
            raise ValueError(f"payload of {size} bytes does not fit a packet")
        packet.sequence = <uint16_t> (sequence & 0xFFFF)
        packet.timestamp = <uint32_t> (timestamp & 0xFFFFFFFF)
        packet.payload_type = <uint8_t> payload_type
        packet.marker = marker
        packet.arrival_ns = arrival_ns
        packet.payload_offset = HEADER_BYTES
        packet.payload_size = <uint16_t> size
        packet.size = <uint16_t> (size + HEADER_BYTES)
        if size:
            memcpy(packet.data + HEADER_BYTES, &payload[0], size)
        result = playout_put(self.playout, packet, arrival_ns, &self.pool)
        if result != PUT_QUEUED:
            packet_release(&self.pool, packet)
        return PUT_NAMES[<int> result]

    def pull(self, int64_t now_ns, int samples):
        out = np.full(samples, -12345, np.int16)
        cdef int16_t[::1] view = out
        cdef int kind = playout_pull(self.playout, now_ns, &view[0], samples, &self.pool)
        return out, KIND_NAMES[kind]

    def note(self, int sequence, int64_t arrival_ns):
        playout_note(self.playout, <uint16_t> (sequence & 0xFFFF), arrival_ns)

    def observe(self, int sequence, timestamp, int clock_hz, int64_t arrival_ns):
        playout_observe(self.playout, <uint16_t> (sequence & 0xFFFF), <uint32_t> (timestamp & 0xFFFFFFFF), clock_hz,
                        arrival_ns)

    def observe_many(self, const uint16_t[::1] sequences, const uint32_t[::1] timestamps, int clock_hz,
                     const int64_t[::1] arrivals_ns):
        cdef Py_ssize_t i
        with nogil:
            for i in range(sequences.shape[0]):
                playout_observe(self.playout, sequences[i], timestamps[i], clock_hz, arrivals_ns[i])

    def run(self, payloads, const uint16_t[::1] sequences, const uint32_t[::1] timestamps, int payload_type,
            const int64_t[::1] arrivals_ns, int64_t first_pull_ns, int frame_samples, int frames):
        """Puts each packet before the first pull at or after its arrival; pulls every frame_samples. For benchmarks."""
        cdef Py_ssize_t next_ = 0
        cdef Py_ssize_t count = sequences.shape[0]
        cdef int frame, size
        cdef int64_t now = first_pull_ns
        cdef int64_t step = <int64_t> frame_samples * 1000000000 // self.rate_hz
        cdef Packet* packet
        cdef bytes joined = b"".join(payloads)
        cdef const uint8_t* source = joined
        offsets = np.concatenate([[0], np.cumsum([len(p) for p in payloads])]).astype(np.int64)
        cdef int64_t[::1] offset = offsets
        out = np.zeros(frame_samples * frames, np.int16)
        cdef int16_t[::1] view = out
        with nogil:
            for frame in range(frames):
                while next_ < count and arrivals_ns[next_] <= now:
                    packet = packet_take(&self.pool)
                    if packet is not NULL:
                        size = <int> (offset[next_ + 1] - offset[next_])
                        packet.sequence = sequences[next_]
                        packet.timestamp = timestamps[next_]
                        packet.payload_type = <uint8_t> payload_type
                        packet.arrival_ns = arrivals_ns[next_]
                        packet.payload_offset = HEADER_BYTES
                        packet.payload_size = <uint16_t> size
                        memcpy(packet.data + HEADER_BYTES, source + offset[next_], size)
                        if playout_put(self.playout, packet, arrivals_ns[next_], &self.pool) != PUT_QUEUED:
                            packet_release(&self.pool, packet)
                    next_ += 1
                playout_pull(self.playout, now, &view[frame * frame_samples], frame_samples, &self.pool)
                now += step
        return out

    @property
    def free_count(self):
        return self.pool.free_count

    @property
    def line_bytes(self):
        return playout_line_bytes(self.playout)

    @property
    def stats(self):
        cdef const PlayoutStats* s = playout_stats(self.playout)
        return {
            "packets_queued": s.packets_queued,
            "packets_late": s.packets_late,
            "packets_duplicate": s.packets_duplicate,
            "packets_reordered": s.packets_reordered,
            "packets_overflow": s.packets_overflow,
            "packets_lost": s.packets_lost,
            "packets_played": s.packets_played,
            "frames_played": s.frames_played,
            "frames_concealed": s.frames_concealed,
            "frames_comfort": s.frames_comfort,
            "stretched_ns": s.stretched_ns,
            "compressed_ns": s.compressed_ns,
            "cut_ns": s.cut_ns,
            "loss_events": s.loss_events,
            "loss_event_packets": s.loss_event_packets,
            "dropouts": s.xr.dropouts,
            "dropout_ns": s.xr.dropout_ns,
            "buffer_delay_ns": s.buffer_delay_ns,
            "buffer_target_ns": s.buffer_target_ns,
        }
