"""RTP headers, reception statistics and the continuous outgoing stream, RFC 3550 §5.1, §6.4.1, A.1, A.3, A.8.

Owns header checks, sequence and jitter arithmetic, and the rewriting that keeps one SSRC's numbers in order whatever
feeds it. Knows no sockets, no codecs and no keys. Contracts are in rtp.pxd; the functions below are for tests.
"""

from libc.string cimport memcpy, memset

cdef enum:
    PACKET_TIME_MS = 20
    STRAGGLER_MS = 500             # packets of the SSRC before may still be under way so long after a change
    SEQUENCE_BAD_NONE = 0x10001


cdef DatagramKind datagram_kind(const uint8_t* data, int size) noexcept nogil:
    if size < 1:
        return DATAGRAM_OTHER
    if data[0] < 4:
        return DATAGRAM_STUN
    if 20 <= data[0] < 64:
        return DATAGRAM_DTLS
    if 128 <= data[0] < 192 and size >= 8:
        if 192 <= data[1] < 224:
            return DATAGRAM_RTCP
        return DATAGRAM_RTP
    return DATAGRAM_OTHER


cdef int rtp_parse(Packet* packet) noexcept nogil:
    cdef const uint8_t* data = packet.data
    cdef int size = packet.size
    cdef int offset
    cdef int padding
    if size < RTP_HEADER_BYTES or (data[0] >> 6) != 2:
        return -1
    offset = RTP_HEADER_BYTES + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if offset + 4 > size:
            return -1
        offset += 4 + 4 * read_be16(data + offset + 2)
    if offset > size:
        return -1
    if data[0] & 0x20:
        padding = data[size - 1]
        if padding == 0 or offset + padding > size:
            return -1
        size -= padding
    packet.payload_type = data[1] & 0x7F
    packet.marker = data[1] >> 7
    packet.sequence = read_be16(data + 2)
    packet.timestamp = read_be32(data + 4)
    packet.ssrc = read_be32(data + 8)
    packet.payload_offset = <uint16_t>offset
    packet.payload_size = <uint16_t>(size - offset)
    return 0


cdef void rtp_write_header(uint8_t* data, int payload_type, int marker, uint16_t sequence, uint32_t timestamp,
                           uint32_t ssrc) noexcept nogil:
    data[0] = 0x80
    data[1] = <uint8_t>((payload_type & 0x7F) | (0x80 if marker else 0))
    write_be16(data + 2, sequence)
    write_be32(data + 4, timestamp)
    write_be32(data + 8, ssrc)


cdef void receiver_restart(RtpReceiver* r, const Packet* packet) noexcept nogil:
    if r.started:
        r.expected_before += rtp_receiver_highest(r) - r.sequence_base + 1
    r.started = 1
    r.ssrc = packet.ssrc
    r.changed_ns = packet.arrival_ns
    r.sequence_base = packet.sequence
    r.sequence_max = packet.sequence
    r.sequence_cycles = 0
    r.sequence_bad = SEQUENCE_BAD_NONE
    r.received = 1
    r.expected_prior = 0
    r.received_prior = 0
    r.transit_known = 0
    r.jitter_q4 = 0


cdef ReceiverVerdict rtp_receiver_step(RtpReceiver* r, const Packet* packet) noexcept nogil:
    cdef uint16_t step
    if not r.started:
        receiver_restart(r, packet)
        return SOURCE_NEW
    if packet.ssrc != r.ssrc:
        if (packet.ssrc == r.previous_ssrc and r.ssrc_changes
                and packet.arrival_ns - r.changed_ns < <int64_t>STRAGGLER_MS * 1000000):
            return SOURCE_STALE
        r.previous_ssrc = r.ssrc
        r.ssrc_changes += 1
        receiver_restart(r, packet)
        return SOURCE_NEW
    step = <uint16_t>(packet.sequence - r.sequence_max)
    if step < RTP_SEQUENCE_JUMP_MAX:
        if packet.sequence < r.sequence_max:
            r.sequence_cycles += 0x10000
        r.sequence_max = packet.sequence
    elif step <= 0x10000 - RTP_SEQUENCE_BACK_MAX:
        # Two in a row that follow each other: the source restarted without changing its SSRC (A.1).
        if packet.sequence == r.sequence_bad:
            receiver_restart(r, packet)
            return SOURCE_NEW
        r.sequence_bad = <uint16_t>(packet.sequence + 1)
        return SOURCE_STALE
    r.received += 1
    return SOURCE_ACCEPTED


cdef void rtp_receiver_time(RtpReceiver* r, uint32_t timestamp, int64_t arrival_ns, int clock_hz) noexcept nogil:
    cdef int32_t transit = <int32_t>(<uint32_t>rtp_units(arrival_ns, clock_hz) - timestamp)
    cdef int32_t change
    if r.transit_known and r.clock_hz == clock_hz:
        change = <int32_t>(<uint32_t>transit - <uint32_t>r.transit)
        if change < 0:
            change = -change
        if change < clock_hz * 10:      # a jump of the source's clock is not jitter
            r.jitter_q4 += <uint32_t>(change - <int32_t>((r.jitter_q4 + 8) >> 4))
    r.transit = transit
    r.transit_known = 1
    r.clock_hz = clock_hz


cdef uint32_t rtp_receiver_highest(const RtpReceiver* r) noexcept nogil:
    return r.sequence_cycles + r.sequence_max


cdef uint64_t rtp_receiver_expected(const RtpReceiver* r) noexcept nogil:
    if not r.started:
        return 0
    return r.expected_before + rtp_receiver_highest(r) - r.sequence_base + 1


cdef void rtp_sender_init(RtpSender* s, uint32_t ssrc, uint16_t sequence, uint32_t timestamp) noexcept nogil:
    memset(s, 0, sizeof(RtpSender))
    s.ssrc = ssrc
    s.sequence = sequence
    s.timestamp = timestamp
    s.marker_next = 1


cdef uint32_t rtp_sender_now(const RtpSender* s, int64_t now_ns, int clock_hz) noexcept nogil:
    if s.sent_ns == 0:
        return s.timestamp
    return s.timestamp + <uint32_t>rtp_units(now_ns - s.sent_ns, clock_hz)


cdef uint32_t rtp_sender_next(const RtpSender* s, int64_t now_ns, int clock_hz) noexcept nogil:
    if s.sent_ns == 0:
        return s.timestamp
    if now_ns < s.sent_ns + <int64_t>PACKET_TIME_MS * 1000000:
        now_ns = s.sent_ns + <int64_t>PACKET_TIME_MS * 1000000
    return rtp_sender_now(s, now_ns, clock_hz)


cdef void rtp_sender_switch(RtpSender* s) noexcept nogil:
    s.feeding = 0
    s.marker_next = 1


cdef int rtp_sender_rewrite(RtpSender* s, Packet* packet, int payload_type, int clock_hz,
                            int64_t now_ns) noexcept nogil:
    cdef uint16_t sequence
    cdef uint32_t timestamp
    cdef int marker = packet.marker
    if not s.feeding or packet.ssrc != s.feed_ssrc:
        s.feeding = 1
        s.feed_ssrc = packet.ssrc
        s.feed_first = packet.sequence
        s.feed_highest = packet.sequence
        s.feed_count = 0
        s.sequence_delta = <uint16_t>(s.sequence - packet.sequence)
        s.timestamp_delta = rtp_sender_next(s, now_ns, clock_hz) - packet.timestamp
        marker = 1
    elif s.feed_count < 0x4000 and <int16_t>(packet.sequence - s.feed_first) < 0:
        return -1
    if <int16_t>(packet.sequence - s.feed_highest) > 0:
        s.feed_highest = packet.sequence
    s.feed_count += 1
    sequence = <uint16_t>(packet.sequence + s.sequence_delta)
    timestamp = packet.timestamp + s.timestamp_delta
    rtp_write_header(packet.data + packet.payload_offset - RTP_HEADER_BYTES, payload_type, marker, sequence, timestamp,
                     s.ssrc)
    packet.timestamp = timestamp
    if <int16_t>(sequence - s.sequence) >= 0:
        s.cycles += <uint16_t>(sequence + 1) < s.sequence
        s.sequence = <uint16_t>(sequence + 1)
    return 0


cdef void rtp_sender_skip(RtpSender* s, const Packet* packet) noexcept nogil:
    if s.feeding and packet.ssrc == s.feed_ssrc and <int16_t>(packet.sequence - s.feed_highest) > 0:
        s.feed_highest = packet.sequence
        s.sequence_delta -= 1


cdef void rtp_sender_count(RtpSender* s, uint32_t timestamp, int clock_hz, int payload_bytes, int wire_bytes,
                           int64_t now_ns) noexcept nogil:
    # A reordered packet of a relayed feed must not pull the stream's own clock back, and a telephone-event, whose
    # timestamp stands still, must not hold it.
    if s.sent_ns == 0 or clock_hz != s.clock_hz or <int32_t>(timestamp - s.timestamp) > 0:
        s.timestamp = timestamp
        s.sent_ns = now_ns
        s.clock_hz = clock_hz
    s.packets += 1
    s.bytes += payload_bytes
    s.bytes_wire += wire_bytes


def parse_for_test(bytes data) -> dict[str, int] | None:
    """Header fields of one RTP packet, or None when it is not RTP."""
    cdef Packet packet
    if len(data) > <Py_ssize_t>sizeof(packet.data):
        return None
    memcpy(packet.data, <const uint8_t*>data, len(data))
    packet.size = <uint16_t>len(data)
    if rtp_parse(&packet) < 0:
        return None
    return {
        "payload_type": packet.payload_type,
        "marker": packet.marker,
        "sequence": packet.sequence,
        "timestamp": packet.timestamp,
        "ssrc": packet.ssrc,
        "payload_offset": packet.payload_offset,
        "payload_size": packet.payload_size,
    }


def kind_for_test(bytes data) -> int:
    """RFC 7983 class of a datagram: 0 STUN, 1 DTLS, 2 RTP, 3 RTCP, 4 other."""
    return datagram_kind(<const uint8_t*>data, len(data))


cdef class ReceiverForTest:
    """One source's reception statistics, fed packet by packet."""

    cdef RtpReceiver r

    def __cinit__(self):
        memset(&self.r, 0, sizeof(RtpReceiver))

    def step(self, int sequence, unsigned int timestamp, unsigned int ssrc, long long arrival_ns, int clock_hz) -> int:
        cdef Packet packet
        packet.sequence = <uint16_t>sequence
        packet.timestamp = timestamp
        packet.ssrc = ssrc
        packet.arrival_ns = arrival_ns
        verdict = rtp_receiver_step(&self.r, &packet)
        if verdict != SOURCE_STALE:
            rtp_receiver_time(&self.r, timestamp, arrival_ns, clock_hz)
        return verdict

    @property
    def expected(self) -> int:
        return rtp_receiver_expected(&self.r)

    @property
    def highest(self) -> int:
        return rtp_receiver_highest(&self.r)

    @property
    def jitter(self) -> float:
        return self.r.jitter_q4 / 16.0

    @property
    def ssrc_changes(self) -> int:
        return self.r.ssrc_changes
