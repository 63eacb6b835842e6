"""RTCP sender and receiver reports, SDES CNAME and BYE, RFC 3550 §6; strict reading of compound packets, A.2.

Owns formats, the sending interval and round-trip arithmetic. Knows no sockets, keys or legs. Report blocks about others
and packet types we do not act on (APP, feedback) are stepped over by their length; an extended report is
only found here, `ext.xr` reads it.
"""

from libc.string cimport memcpy, memset, strlen
from mediaserver.ext.rtp cimport read_be16, read_be32, write_be16, write_be32

cdef enum:
    RTCP_SR = 200
    RTCP_RR = 201
    RTCP_SDES = 202
    RTCP_BYE = 203
    RTCP_XR = 207
    SDES_CNAME = 1
    HEADER_BYTES = 4
    SENDER_BYTES = 24          # SSRC and sender information
    BLOCK_BYTES = 24
    NTP_UNIX_OFFSET_S = 2208988800


cdef uint64_t ntp_from_wall_ns(int64_t wall_ns) noexcept nogil:
    cdef uint64_t seconds = <uint64_t>(wall_ns // 1000000000)
    cdef uint64_t rest = <uint64_t>(wall_ns % 1000000000)
    return ((seconds + <uint64_t>NTP_UNIX_OFFSET_S) << 32) | ((rest << 32) // 1000000000)


cdef int64_t rtcp_interval_ns(uint32_t random, bint first) noexcept nogil:
    # Uniform in 0.5..1.5 of the minimum, divided by e - 3/2 to make up for reconsideration (§6.3.1).
    cdef int64_t interval_ns = <int64_t>RTCP_INTERVAL_MS * 1000000
    if first:
        interval_ns //= 2
    interval_ns = interval_ns // 2 + ((interval_ns * (random >> 12)) >> 20)
    return interval_ns * 100000 // 121828


cdef int64_t rtcp_round_trip_ns(uint64_t ntp_now, uint32_t last_sr, uint32_t delay_since_last_sr) noexcept nogil:
    cdef int32_t units
    if last_sr == 0:
        return 0
    units = <int32_t>(<uint32_t>(ntp_now >> 16) - last_sr - delay_since_last_sr)
    if units <= 0:              # clocks of 1/65536 s may meet in the same unit; negative: the peer's delay is wrong
        return 1 if units == 0 else 0
    return (<int64_t>units * 1000000000) >> 16


cdef int write_block(uint8_t* p, const RtcpReport* r) noexcept nogil:
    cdef int32_t lost = r.cumulative_lost
    if lost > 0x7FFFFF:
        lost = 0x7FFFFF
    if lost < -0x800000:
        lost = -0x800000
    write_be32(p, r.source_ssrc)
    write_be32(p + 4, (<uint32_t>(r.fraction_lost & 0xFF) << 24) | (<uint32_t>lost & 0xFFFFFF))
    write_be32(p + 8, r.highest_sequence)
    write_be32(p + 12, r.jitter)
    write_be32(p + 16, r.last_sr)
    write_be32(p + 20, r.delay_since_last_sr)
    return BLOCK_BYTES


cdef void write_header(uint8_t* p, int count, int kind, int size) noexcept nogil:
    p[0] = <uint8_t>(0x80 | count)
    p[1] = <uint8_t>kind
    write_be16(p + 2, size // 4 - 1)


cdef int write_sdes(uint8_t* p, uint32_t ssrc, const char* cname) noexcept nogil:
    cdef int length = <int>strlen(cname)
    cdef int size
    if length > CNAME_BYTES_MAX:
        length = CNAME_BYTES_MAX
    size = (HEADER_BYTES + 4 + 2 + length + 4) & ~3       # at least one zero octet ends the chunk
    memset(p, 0, size)
    write_header(p, 1, RTCP_SDES, size)
    write_be32(p + 4, ssrc)
    p[8] = SDES_CNAME
    p[9] = <uint8_t>length
    memcpy(p + 10, cname, length)
    return size


cdef int rtcp_write(uint8_t* out, const RtcpReport* report, const char* cname) noexcept nogil:
    cdef int size = 8
    write_be32(out + 4, report.ssrc)
    if report.is_sender:
        write_be32(out + 8, <uint32_t>(report.ntp >> 32))
        write_be32(out + 12, <uint32_t>report.ntp)
        write_be32(out + 16, report.timestamp)
        write_be32(out + 20, report.packets)
        write_be32(out + 24, report.bytes)
        size += 20
    if report.has_block:
        size += write_block(out + size, report)
    write_header(out, 1 if report.has_block else 0, RTCP_SR if report.is_sender else RTCP_RR, size)
    size += write_sdes(out + size, report.ssrc, cname)
    if report.bye:
        write_header(out + size, 1, RTCP_BYE, 8)
        write_be32(out + size + 4, report.ssrc)
        size += 8
    return size


cdef void read_block(const uint8_t* p, uint32_t our_ssrc, RtcpInput* into) noexcept nogil:
    cdef uint32_t lost
    if read_be32(p) != our_ssrc:
        return
    lost = read_be32(p + 4) & 0xFFFFFF
    into.has_block = 1
    into.block_ssrc = into.sender_ssrc
    into.fraction_lost = p[4]
    into.cumulative_lost = <int32_t>lost - (0x1000000 if lost & 0x800000 else 0)
    into.highest_sequence = read_be32(p + 8)
    into.jitter = read_be32(p + 12)
    into.last_sr = read_be32(p + 16)
    into.delay_since_last_sr = read_be32(p + 20)


cdef int read_report(const uint8_t* p, int size, uint32_t our_ssrc, RtcpInput* into) noexcept nogil:
    cdef int count = p[0] & 0x1F
    cdef int at = HEADER_BYTES + (SENDER_BYTES if p[1] == RTCP_SR else 4)
    cdef int i
    if at + count * BLOCK_BYTES > size:
        return -1
    into.sender_ssrc = read_be32(p + 4)
    if p[1] == RTCP_SR:
        into.has_sr = 1
        into.sr_ntp = (<uint64_t>read_be32(p + 8) << 32) | read_be32(p + 12)
        into.sr_timestamp = read_be32(p + 16)
        into.sr_packets = read_be32(p + 20)
    for i in range(count):
        read_block(p + at + i * BLOCK_BYTES, our_ssrc, into)
    return 0


cdef int read_bye(const uint8_t* p, int size, RtcpInput* into) noexcept nogil:
    cdef int count = p[0] & 0x1F
    cdef int i
    if HEADER_BYTES + 4 * count > size:
        return -1
    for i in range(count):
        if read_be32(p + HEADER_BYTES + 4 * i) == into.sender_ssrc:
            into.bye = 1
    return 0


cdef int rtcp_parse(const uint8_t* data, int size, uint32_t our_ssrc, RtcpInput* into) noexcept nogil:
    cdef int at = 0
    cdef int length
    cdef int content
    cdef int padding
    memset(into, 0, sizeof(RtcpInput))
    if size < 8 or (data[1] != RTCP_SR and data[1] != RTCP_RR):
        return -1
    while at < size:
        if size - at < HEADER_BYTES or (data[at] >> 6) != 2:
            return -1
        length = 4 * (read_be16(data + at + 2) + 1)
        if at + length > size:
            return -1
        content = length
        if data[at] & 0x20:        # padding is the last packet's only, a multiple of four, and inside it
            padding = data[size - 1]
            if at + length != size or padding == 0 or padding & 3 or padding > length - HEADER_BYTES:
                return -1
            content -= padding
        if data[at + 1] == RTCP_SR or data[at + 1] == RTCP_RR:
            if read_report(data + at, content, our_ssrc, into) < 0:
                return -1
        elif data[at + 1] == RTCP_BYE and read_bye(data + at, content, into) < 0:
            return -1
        elif data[at + 1] == RTCP_XR and content >= 8 and not into.xr_size:
            into.xr_at = at
            into.xr_size = content
        into.packets += 1
        at += length
    return 0


def parse_for_test(bytes data, unsigned int our_ssrc) -> dict[str, int] | None:
    """What one compound packet says, or None when it is malformed."""
    cdef RtcpInput got
    if rtcp_parse(<const uint8_t*>data, len(data), our_ssrc, &got) < 0:
        return None
    return got


def write_for_test(dict report, bytes cname) -> bytes:
    """A compound packet from the fields of RtcpReport."""
    cdef RtcpReport r = report
    cdef uint8_t out[RTCP_BYTES_MAX]
    return (<char*>out)[:rtcp_write(out, &r, cname)]


def interval_for_test(unsigned int random, bint first) -> int:
    return rtcp_interval_ns(random, first)


def round_trip_for_test(unsigned long long ntp_now, unsigned int last_sr, unsigned int delay) -> int:
    return rtcp_round_trip_ns(ntp_now, last_sr, delay)


def ntp_for_test(long long wall_ns) -> int:
    return ntp_from_wall_ns(wall_ns)
