"""RTCP extended reports: RFC 3611 (reference time, DLRR, statistics summary, VoIP metrics with the burst arithmetic of
Appendix A), RFC 6776 (what a measurement covers) and RFC 7294 (what was concealed).

Owns counters, formats and their arithmetic. Appendix A leaves the last loss unjudged and gives a first, lone loss to
the bursts; here the open burst is judged when the report is made, so that one lone loss is a gap loss and a solid burst
has density 255.
"""

from libc.math cimport exp, log2, log10, pow, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from mediaserver.ext.concealment cimport BT_CONCEALED_SECONDS, BT_LOSS_CONCEALMENT, made_up_read
from mediaserver.ext.rtp cimport read_be16, read_be32, write_be16, write_be32

cdef enum:
    RTCP_XR = 207
    HEADER_BYTES = 8
    BT_REFERENCE_TIME = 4
    BT_DLRR = 5
    BT_SUMMARY = 6
    BT_VOIP = 7
    BT_MEASUREMENT = 14                # RFC 6776
    LOSS_AND_DUPLICATES = 0xC0         # flags of the summary: what it fills
    CUMULATIVE_ENHANCED = 0xF0         # RFC 7294: I = 3 (since the start), plc = 3 (enhanced), 4 bits together
    RECEIVER_CONFIG = 0xF0             # RFC 3611 §4.7.6: enhanced concealment, adaptive buffer
    SEVERE_PERCENT = 10
    BUFFER_MAX_MS = 500

cdef int64_t PACKET_NS = 20000000
cdef int64_t SECOND = 1000000000


# --- counters

cdef void xr_lost(XrLoss* x, int32_t packets, int64_t packet_ns) noexcept nogil:
    if packets <= 0:
        return
    if x.since >= XR_GMIN or x.in_burst == 0:
        x.c11 += x.since
        if x.in_burst == 1:
            x.c14 += 1
        elif x.in_burst > 1:
            x.c13 += 1
        x.in_burst = 1
    else:
        x.in_burst += 1
        if x.since == 0:
            x.c33 += 1
        else:
            x.c23 += 1
            x.c22 += x.since - 1
    x.since = 0
    x.in_burst += packets - 1
    x.c33 += packets - 1
    if packet_ns <= 0:
        return
    x.packet_ns = packet_ns
    x.run_ns += packets * packet_ns
    if x.dropping:
        x.dropout_ns += packets * packet_ns
    elif x.run_ns >= XR_DROPOUT_NS:
        x.dropping = 1
        x.dropouts += 1
        x.dropout_ns += x.run_ns


cdef inline uint16_t clamped16(double value) noexcept nogil:
    return 65535 if value > 65535 else (0 if value < 0 else <uint16_t>(value + 0.5))


cdef inline uint8_t share256(double value) noexcept nogil:
    return 255 if value * 256 >= 255 else (0 if value <= 0 else <uint8_t>(value * 256))


cdef void xr_bursts(const XrLoss* x, XrBursts* into) noexcept nogil:
    cdef double packet_ms = (x.packet_ns if x.packet_ns > 0 else PACKET_NS) / 1e6
    cdef double c11 = x.c11
    cdef double c13 = x.c13
    cdef double c14 = x.c14
    cdef double p23 = 1.0
    cdef double p32, total, gap_packets
    memset(into, 0, sizeof(XrBursts))
    if x.in_burst == 1:
        c14 += 1
    elif x.in_burst > 1:
        c13 += 1
    if x.since >= XR_GMIN or x.in_burst <= 1:
        c11 += x.since
    total = c11 + c14 + 2 * c13 + x.c22 + 2.0 * x.c23 + x.c33      # c31 = c13, c32 = c23
    if c13 == 0:
        into.gap_ms = clamped16(total * packet_ms)
    else:
        p32 = x.c23 / (c13 + x.c23 + x.c33)
        if x.c22 + x.c23 >= 1:
            p23 = 1.0 - <double>x.c22 / (x.c22 + x.c23)
        into.burst_density = share256(p23 / (p23 + p32))
        gap_packets = (c11 + c14 + c13) / c13
        into.gap_ms = clamped16(gap_packets * packet_ms)
        into.burst_ms = clamped16((total / c13 - gap_packets) * packet_ms)
    if c11 + c14 > 0:
        into.gap_density = share256(c14 / (c11 + c14))


cdef void xr_loss_add(XrLoss* total, const XrLoss* more) noexcept nogil:
    """One playout has followed another: the burst that was open at the seam is closed."""
    if total.in_burst == 1:
        total.c14 += 1
    elif total.in_burst > 1:
        total.c13 += 1
    total.c11 += total.since + more.c11
    total.c13 += more.c13
    total.c14 += more.c14
    total.c22 += more.c22
    total.c23 += more.c23
    total.c33 += more.c33
    total.since = more.since
    total.in_burst = more.in_burst
    total.run_ns = more.run_ns
    total.dropping = more.dropping
    total.dropouts += more.dropouts
    total.dropout_ns += more.dropout_ns
    total.packet_ns = more.packet_ns if more.packet_ns else total.packet_ns


cdef void xr_second(XrSeconds* s, uint32_t played, uint32_t concealed, int64_t now_ns) noexcept nogil:
    cdef int64_t frames, made_up
    if s.began_ns == 0:
        s.began_ns = now_ns
    if now_ns - s.began_ns < SECOND:
        return
    frames = <int64_t>played - s.played_before
    made_up = <int64_t>concealed - s.concealed_before
    if made_up > 0:
        s.concealed += 1
        if made_up * 100 > SEVERE_PERCENT * (frames if frames > 0 else 50):
            s.severe += 1
    elif frames > 0:
        s.unimpaired += 1
    s.played_before = played
    s.concealed_before = concealed
    s.began_ns = now_ns


# --- rating: ITU-T G.107 with its defaults, G.711 with concealment (Ie 0, Bpl 25.1)

cdef double xr_listening_r(double loss, double burst_ratio) noexcept nogil:
    cdef double ppl = 100 * loss
    return 93.355235 - 95 * ppl / (ppl / burst_ratio + 25.1)     # Ro - Is; Idle comes with the delay


cdef double xr_delay_cost(double delay_ms) noexcept nogil:
    """Id at T = Ta, Tr = 2 T, TELR 65 dB."""
    cdef double terv, half, idte = 0, idle, idd = 0, x
    if delay_ms >= 1:
        terv = 65 - 40 * log10((1 + delay_ms / 10) / (1 + delay_ms / 150)) + 6 * exp(-0.3 * delay_ms * delay_ms)
        half = (94.7688 - (80 + 2.5 * (terv - 14))) / 2
        idte = (half + sqrt(half * half + 100) - 1) * (1 - exp(-delay_ms))
    half = (94.7688 - 1228.5 / sqrt(sqrt(2 * delay_ms + 1))) / 2
    idle = half + sqrt(half * half + 169)
    if delay_ms > 100:
        x = log2(delay_ms / 100)
        idd = 25 * (pow(1 + pow(x, 6), 1.0 / 6) - 3 * pow(1 + pow(x / 3, 6), 1.0 / 6) + 2)
    return idte + idle + idd


cdef double xr_mos(double r) noexcept nogil:
    cdef double mos
    if r <= 6.515:
        return 1.0
    if r >= 100:
        return 4.5
    mos = 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
    return mos if mos > 1.0 else 1.0


# --- writing

cdef uint8_t* block(uint8_t* p, int kind, int flags, int words) noexcept nogil:
    p[0] = <uint8_t>kind
    p[1] = <uint8_t>flags
    write_be16(p + 2, words)
    return p + 4


cdef uint8_t* write_times(uint8_t* p, const XrReport* r) noexcept nogil:
    if r.blocks & XR_REFERENCE_TIME:
        p = block(p, BT_REFERENCE_TIME, 0, 2)
        write_be32(p, <uint32_t>(r.ntp >> 32))
        write_be32(p + 4, <uint32_t>r.ntp)
        p += 8
    if r.last_rr:
        p = block(p, BT_DLRR, 0, 3)
        write_be32(p, r.source_ssrc)
        write_be32(p + 4, r.last_rr)
        write_be32(p + 8, r.delay_since_last_rr)
        p += 12
    return p


cdef uint8_t* write_summary(uint8_t* p, const XrReport* r) noexcept nogil:
    p = block(p, BT_SUMMARY, LOSS_AND_DUPLICATES, 9)
    memset(p, 0, 36)
    write_be32(p, r.source_ssrc)
    write_be16(p + 4, r.begin_sequence)
    write_be16(p + 6, r.end_sequence)
    write_be32(p + 8, r.lost)
    write_be32(p + 12, r.duplicate)
    return p + 36


cdef inline uint32_t up_to(int64_t value, int64_t most) noexcept nogil:
    return <uint32_t>(0 if value < 0 else (most if value > most else value))


cdef uint8_t* write_voip(uint8_t* p, const XrReport* r) noexcept nogil:
    cdef double expected = <double>r.expected if r.expected else 1.0
    p = block(p, BT_VOIP, 0, 8)
    write_be32(p, r.source_ssrc)
    p[4] = share256(r.lost_all / expected)
    p[5] = share256(r.discarded_all / expected)
    p[6] = r.bursts.burst_density
    p[7] = r.bursts.gap_density
    write_be16(p + 8, r.bursts.burst_ms)
    write_be16(p + 10, r.bursts.gap_ms)
    write_be16(p + 12, up_to(r.round_trip_ms, 65535))
    write_be16(p + 14, up_to(r.end_system_ms, 65535))
    p[16] = p[17] = p[18] = XR_UNAVAILABLE          # signal, noise, echo return loss: not measured
    p[19] = XR_GMIN
    p[20] = <uint8_t>r.r
    p[21] = XR_UNAVAILABLE
    p[22] = <uint8_t>r.mos_lq10
    p[23] = <uint8_t>r.mos_cq10
    p[24] = RECEIVER_CONFIG
    p[25] = 0
    write_be16(p + 26, up_to(r.buffer_nominal_ms, 65535))
    write_be16(p + 28, up_to(r.buffer_max_ms, 65535))
    write_be16(p + 30, BUFFER_MAX_MS)
    return p + 32


cdef uint8_t* write_concealment(uint8_t* p, const XrReport* r) noexcept nogil:
    cdef uint64_t session = <uint64_t>(r.session_ns // SECOND) << 32
    session |= (<uint64_t>(r.session_ns % SECOND) << 32) // <uint64_t>SECOND
    p = block(p, BT_MEASUREMENT, 0, 7)
    write_be32(p, r.source_ssrc)
    write_be16(p + 4, 0)
    write_be16(p + 6, <uint16_t>(r.highest_sequence - r.expected + 1))     # of the session
    write_be32(p + 8, r.highest_sequence + 1 - <uint16_t>(r.end_sequence - r.begin_sequence))
    write_be32(p + 12, r.highest_sequence)
    write_be32(p + 16, <uint32_t>(session >> 16))
    write_be32(p + 20, <uint32_t>(session >> 32))
    write_be32(p + 24, <uint32_t>session)
    p = block(p + 28, BT_LOSS_CONCEALMENT, CUMULATIVE_ENHANCED, 6)
    write_be32(p, r.source_ssrc)
    write_be32(p + 4, r.on_time_ms)
    write_be32(p + 8, r.concealed_ms)
    write_be32(p + 12, r.adjusted_ms)
    write_be16(p + 16, up_to(r.interrupts, 65535))
    write_be16(p + 18, 0)
    write_be32(p + 20, r.interrupt_ms)
    p = block(p + 24, BT_CONCEALED_SECONDS, CUMULATIVE_ENHANCED, 4)
    write_be32(p, r.source_ssrc)
    write_be32(p + 4, r.seconds_unimpaired)
    write_be32(p + 8, r.seconds_concealed)
    write_be16(p + 12, up_to(r.seconds_severe, 65535))
    p[14] = 0
    p[15] = SEVERE_PERCENT
    return p + 16


cdef int xr_write(uint8_t* out, const XrReport* report) noexcept nogil:
    cdef uint8_t* p = write_times(out + HEADER_BYTES, report)
    if report.source_ssrc and report.blocks & XR_SUMMARY:
        p = write_summary(p, report)
    if report.source_ssrc and report.blocks & XR_VOIP:
        p = write_voip(p, report)
    if report.source_ssrc and report.blocks & XR_CONCEALMENT:
        p = write_concealment(p, report)
    if p == out + HEADER_BYTES:
        return 0
    out[0] = 0x80
    out[1] = RTCP_XR
    write_be16(out + 2, <uint32_t>(p - out) // 4 - 1)
    write_be32(out + 4, report.ssrc)
    return <int>(p - out)


# --- reading

cdef void read_dlrr(const uint8_t* p, int size, uint32_t our_ssrc, XrInput* into) noexcept nogil:
    cdef int at = 0
    while at + 12 <= size:
        if read_be32(p + at) == our_ssrc:
            into.has_delay = 1
            into.last_rr = read_be32(p + at + 4)
            into.delay_since_last_rr = read_be32(p + at + 8)
        at += 12


cdef int32_t believable(int value, int low, int high) noexcept nogil:
    return value if low <= value <= high else XR_UNAVAILABLE


cdef void read_voip(const uint8_t* p, uint32_t our_ssrc, XrInput* into) noexcept nogil:
    if read_be32(p) != our_ssrc:
        return
    into.has_voip = 1
    into.loss_rate = p[4]
    into.discard_rate = p[5]
    into.burst_density = p[6]
    into.gap_density = p[7]
    into.burst_ms = read_be16(p + 8)
    into.gap_ms = read_be16(p + 10)
    into.round_trip_ms = read_be16(p + 12)
    into.end_system_ms = read_be16(p + 14)
    into.r = believable(p[20], 0, 100)
    into.mos_lq10 = believable(p[22], 10, 50)
    into.mos_cq10 = believable(p[23], 10, 50)
    into.buffer_nominal_ms = read_be16(p + 26)


cdef void read_summary(const uint8_t* p, int flags, uint32_t our_ssrc, XrInput* into) noexcept nogil:
    if read_be32(p) != our_ssrc:
        return
    into.has_summary = 1
    into.summary_lost = read_be32(p + 8) if flags & 0x80 else 0
    into.summary_duplicate = read_be32(p + 12) if flags & 0x40 else 0


cdef void xr_read(const uint8_t* data, int size, uint32_t our_ssrc, XrInput* into) noexcept nogil:
    cdef int at = HEADER_BYTES
    cdef int length
    into.reporter = read_be32(data + 4)
    while at + 4 <= size:
        length = 4 * read_be16(data + at + 2)
        if at + 4 + length > size:
            return
        if data[at] == BT_REFERENCE_TIME and length == 8:
            into.has_reference = 1
            into.reference = (read_be32(data + at + 4) << 16) | (read_be32(data + at + 8) >> 16)
        elif data[at] == BT_DLRR:
            read_dlrr(data + at + 4, length, our_ssrc, into)
        elif data[at] == BT_SUMMARY and length == 36:
            read_summary(data + at + 4, data[at + 1], our_ssrc, into)
        elif data[at] == BT_VOIP and length == 32:
            read_voip(data + at + 4, our_ssrc, into)
        elif data[at] == BT_LOSS_CONCEALMENT or data[at] == BT_CONCEALED_SECONDS:
            made_up_read(data + at + 4, data[at], data[at + 1], length // 4, our_ssrc, &into.made_up)
        at += 4 + length


# --- for tests

def counters_for_test(str pattern, int packet_ms=20) -> dict[str, int]:
    """pattern: one character per packet in order of playing, '.' received, 'x' lost or discarded."""
    cdef XrLoss x
    cdef XrBursts b
    memset(&x, 0, sizeof(x))
    for character in pattern:
        if character == "x":
            xr_lost(&x, 1, packet_ms * 1000000)
        else:
            xr_received(&x, packet_ms * 1000000)
    xr_bursts(&x, &b)
    return {**x, **b}


def write_for_test(dict report) -> bytes:
    cdef XrReport r = report
    cdef uint8_t out[XR_BYTES_MAX]
    return (<char*>out)[:xr_write(out, &r)]


def read_for_test(bytes data, unsigned int our_ssrc) -> dict[str, int]:
    cdef XrInput got
    memset(&got, 0, sizeof(got))
    if len(data) >= HEADER_BYTES:
        xr_read(<const uint8_t*>data, <int>len(data), our_ssrc, &got)
    return got


def seconds_for_test(list frames) -> dict[str, int]:
    """frames: (now_ns, played, concealed) of each look."""
    cdef XrSeconds s
    memset(&s, 0, sizeof(s))
    for now_ns, played, concealed in frames:
        xr_second(&s, played, concealed, now_ns)
    return s


def rating_for_test(double loss, double burst_ratio, double delay_ms) -> tuple[float, float]:
    """R and MOS of G.711 at that loss and delay."""
    cdef double r = xr_listening_r(loss, burst_ratio) - xr_delay_cost(delay_ms)
    return r, xr_mos(r)
