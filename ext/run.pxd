# A run of a journal's RTP records whose RTP time goes on as it did: nearly all of them, told without an object each.
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef class Run:
    # Set by who follows: the source, its payload type and clock, where its piece began (extended timestamp), how far
    # from what is known an offset may be, and the RTP time from which the next knot of the curve begins.
    cdef public int64_t ssrc
    cdef public int payload_type
    cdef public int64_t clock_hz
    cdef public int64_t first_timestamp
    cdef public int64_t codec_from_ns  # arrivals from then on are of this codec
    cdef public int64_t ahead_ns
    cdef public int64_t lag_ns
    cdef public int64_t knot_from_ns  # RTP ns
    cdef public int64_t knot_until_ns
    cdef public int64_t least_before_ns  # offset of the knot before
    # Moved on by each record that was followed.
    cdef public int64_t sequence  # extended, the newest
    cdef public int64_t timestamp
    cdef public int64_t knot_rtp_ns  # the earliest arrival of this knot, and its offset
    cdef public int64_t knot_offset_ns
    cdef public int64_t last_arrival_ns  # latest of all
    cdef public int64_t packets
    cdef Py_ssize_t walk(self, const uint8_t* data, Py_ssize_t position, Py_ssize_t size) noexcept nogil
