"""A run of a journal's RTP records whose RTP time goes on as it did (RFC 3550 §5.1): nearly all of an hour's 180,000.

Owns the walk over records that hold no surprise: the same source and codec, the next sequence numbers, an arrival
near what the clock says. What is to be done with any other record, `recording/timeline.py` knows. It changes
nothing of what that would have found, it only finds it without an object for each packet.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from cpython.bytes cimport PyBytes_AS_STRING

from mediaserver.ext.crc cimport crc32

cdef enum:
    SYNC = 0x50545352
    FRAME_BYTES = 28
    CRC_OFFSET = 12
    KIND_RTP = 1
    RTP_BYTES = 12
    PACKET_BYTES_MAX = 65_535

cdef int64_t TICKS_MAX = <int64_t>1 << 33  # times 1e9 it still fits


cdef bint intact(const uint8_t* data, Py_ssize_t size, uint32_t expected) noexcept nogil:
    """The CRC of a record is taken with its own field zero."""
    cdef uint8_t copy[FRAME_BYTES + PACKET_BYTES_MAX]
    memcpy(copy, data, size)
    copy[CRC_OFFSET] = copy[CRC_OFFSET + 1] = copy[CRC_OFFSET + 2] = copy[CRC_OFFSET + 3] = 0
    return crc32(copy, size) == expected


cdef class Run:
    def follow(self, bytes data, Py_ssize_t position) -> int:
        return self.walk(<const uint8_t*>PyBytes_AS_STRING(data), position, len(data))

    cdef Py_ssize_t walk(self, const uint8_t* data, Py_ssize_t position, Py_ssize_t size) noexcept nogil:
        cdef const uint8_t* record
        cdef const uint8_t* packet
        cdef uint32_t sync, crc
        cdef uint16_t header_bytes, body_bytes
        cdef int64_t arrival_ns, ticks, timestamp, rtp_ns, offset_ns, least_ns
        cdef int32_t newer
        while size - position >= FRAME_BYTES + RTP_BYTES:
            record = data + position
            memcpy(&sync, record, 4)
            memcpy(&header_bytes, record + 4, 2)
            memcpy(&body_bytes, record + 6, 2)
            memcpy(&crc, record + CRC_OFFSET, 4)
            memcpy(&arrival_ns, record + 16, 8)
            if sync != SYNC or header_bytes != FRAME_BYTES or record[8] != KIND_RTP or body_bytes < RTP_BYTES:
                break
            if size - position < FRAME_BYTES + body_bytes:
                break
            packet = record + FRAME_BYTES
            if packet[0] != 0x80 or (packet[1] & 0x7F) != self.payload_type or arrival_ns < self.codec_from_ns:
                break
            if self.ssrc != ((<int64_t>packet[8] << 24) | (packet[9] << 16) | (packet[10] << 8) | packet[11]):
                break
            newer = <int16_t><uint16_t>(((packet[2] << 8) | packet[3]) - (self.sequence & 0xFFFF))
            if newer <= 0:
                break
            ticks = (<int64_t>packet[4] << 24) | (packet[5] << 16) | (packet[6] << 8) | packet[7]
            timestamp = self.timestamp + <int32_t>(<uint32_t>ticks - <uint32_t>self.timestamp)
            ticks = timestamp - self.first_timestamp
            if ticks < 0 or ticks >= TICKS_MAX:
                break
            rtp_ns = ticks * 1_000_000_000 // self.clock_hz
            if rtp_ns < self.knot_from_ns or rtp_ns >= self.knot_until_ns:
                break
            offset_ns = arrival_ns - rtp_ns
            least_ns = min(self.knot_offset_ns, self.least_before_ns)
            if offset_ns - least_ns > self.lag_ns or offset_ns - least_ns < -self.ahead_ns:
                break
            if not intact(record, FRAME_BYTES + body_bytes, crc):
                break
            self.sequence += newer
            self.timestamp = timestamp
            if offset_ns < self.knot_offset_ns:
                self.knot_rtp_ns, self.knot_offset_ns = rtp_ns, offset_ns
            if arrival_ns > self.last_arrival_ns:
                self.last_arrival_ns = arrival_ns
            self.packets += 1
            position += FRAME_BYTES + body_bytes
        return position
