"""RTCP feedback packets for video and for congestion control: written, and read with every length checked.

Owns formats only. Follows RFC 4585 §6, RFC 5104 §4.3.1, draft-alvestrand-rmcat-remb-03 and
draft-holmer-rmcat-transport-wide-cc-extensions-01.
"""

from libc.string cimport memcpy, memset, strlen
from mediaserver.ext.rtp cimport read_be16, read_be32, write_be16, write_be32

cdef enum:
    HEADER_BYTES = 12                  # RTCP header, sender, media
    CNAME_BYTES = 64
    DELTA_US = 250
    REFERENCE_US = 64000
    SYMBOL_LOST = 0
    SYMBOL_SMALL = 1                   # delta of one octet
    SYMBOL_LARGE = 2                   # of two, signed


cdef int rtcp_next(const uint8_t* data, int size, int* at, RtcpPart* part) noexcept nogil:
    cdef const uint8_t* p = data + at[0]
    cdef int length
    cdef int padding
    if at[0] == size:
        return 0
    if size - at[0] < 4 or p[0] >> 6 != 2:
        return -1
    length = 4 * (read_be16(p + 2) + 1)
    if length > size - at[0]:
        return -1
    part.kind = p[1]
    part.count = p[0] & 0x1F
    part.data = p
    part.size = length
    if p[0] & 0x20:
        padding = p[length - 1]
        if padding == 0 or padding > length - 4:
            return -1
        part.size -= padding
    at[0] += length
    return 1


cdef int finish(uint8_t* out, int kind, int count, uint32_t sender, uint32_t media, int size) noexcept nogil:
    out[0] = <uint8_t>(0x80 | count)
    out[1] = <uint8_t>kind
    write_be16(out + 2, size // 4 - 1)
    write_be32(out + 4, sender)
    write_be32(out + 8, media)
    return size


cdef int write_nack(uint8_t* out, uint32_t sender, uint32_t media, const uint16_t* sequences, int count) noexcept nogil:
    """sequences: rising. Each item carries one number and a mask of the sixteen after it."""
    cdef int size = HEADER_BYTES
    cdef int i = 0
    cdef uint16_t first
    cdef uint16_t mask
    while i < count:
        first = sequences[i]
        mask = 0
        i += 1
        while i < count and 1 <= <uint16_t>(sequences[i] - first) <= 16:
            mask |= <uint16_t>(1 << (<uint16_t>(sequences[i] - first) - 1))
            i += 1
        write_be16(out + size, first)
        write_be16(out + size + 2, mask)
        size += 4
    return finish(out, RTCP_TRANSPORT_FEEDBACK, FEEDBACK_NACK, sender, media, size)


cdef int write_pli(uint8_t* out, uint32_t sender, uint32_t media) noexcept nogil:
    return finish(out, RTCP_PAYLOAD_FEEDBACK, FEEDBACK_PLI, sender, media, HEADER_BYTES)


cdef int write_fir(uint8_t* out, uint32_t sender, uint32_t media, int number) noexcept nogil:
    write_be32(out + HEADER_BYTES, media)
    write_be32(out + HEADER_BYTES + 4, <uint32_t>(number & 0xFF) << 24)
    return finish(out, RTCP_PAYLOAD_FEEDBACK, FEEDBACK_FIR, sender, 0, HEADER_BYTES + 8)


cdef int write_remb(uint8_t* out, uint32_t sender, int64_t bps, const uint32_t* ssrcs, int count) noexcept nogil:
    cdef int exponent = 0
    cdef int i
    while bps >= 1 << 18:
        bps >>= 1
        exponent += 1
    memcpy(out + HEADER_BYTES, b"REMB", 4)
    write_be32(out + HEADER_BYTES + 4, (<uint32_t>count << 24) | (<uint32_t>exponent << 18) | <uint32_t>bps)
    for i in range(count):
        write_be32(out + HEADER_BYTES + 8 + 4 * i, ssrcs[i])
    return finish(out, RTCP_PAYLOAD_FEEDBACK, FEEDBACK_APPLICATION, sender, 0, HEADER_BYTES + 8 + 4 * count)


cdef int write_empty_report(uint8_t* out, uint32_t sender, const char* cname) noexcept nogil:
    """What a compound packet must begin with (RFC 3550 §6.1) where reduced size was not agreed: RR and CNAME."""
    cdef int length = <int>strlen(cname)
    cdef int size
    if length > CNAME_BYTES:
        length = CNAME_BYTES
    size = (4 + 4 + 2 + length + 4) & ~3
    memset(out, 0, 8 + size)
    out[0] = 0x80
    out[1] = RTCP_RECEIVER_REPORT
    write_be16(out + 2, 1)
    write_be32(out + 4, sender)
    out[8] = 0x81
    out[9] = 202
    write_be16(out + 10, size // 4 - 1)
    write_be32(out + 12, sender)
    out[16] = 1
    out[17] = <uint8_t>length
    memcpy(out + 18, cname, length)
    return 8 + size


cdef int read_nack(const RtcpPart* part, uint16_t* out, int capacity) noexcept nogil:
    cdef int at = HEADER_BYTES
    cdef int count = 0
    cdef int bit
    cdef int mask
    cdef uint16_t first
    if part.size < HEADER_BYTES + 4:
        return -1
    while at + 4 <= part.size:
        first = read_be16(part.data + at)
        mask = (read_be16(part.data + at + 2) << 1) | 1
        for bit in range(17):
            if mask >> bit & 1 and count < capacity:
                out[count] = <uint16_t>(first + bit)
                count += 1
        at += 4
    return count


cdef int64_t read_remb(const RtcpPart* part) noexcept nogil:
    cdef uint32_t word
    cdef int exponent
    if part.size < HEADER_BYTES + 8 or read_be32(part.data + HEADER_BYTES) != 0x52454D42:
        return -1
    word = read_be32(part.data + HEADER_BYTES + 4)
    exponent = (word >> 18) & 0x3F
    if exponent > 40:                  # more than any wire carries, and than 64 bits hold
        return -1
    return <int64_t>(word & 0x3FFFF) << exponent


cdef int read_fir(const RtcpPart* part, uint32_t* out, int capacity) noexcept nogil:
    cdef int at = HEADER_BYTES
    cdef int count = 0
    if part.size < HEADER_BYTES + 8:
        return -1
    while at + 8 <= part.size and count < capacity:
        out[count] = read_be32(part.data + at)
        count += 1
        at += 8
    return count


cdef int read_symbols(const RtcpPart* part, TransportReport* into) noexcept nogil:
    """Packet status chunks into into.received as symbols. The offset behind them, or -1."""
    cdef int at = HEADER_BYTES + 8
    cdef int told = 0
    cdef int chunk
    cdef int symbol
    cdef int run
    cdef int i
    while told < into.count:
        if at + 2 > part.size:
            return -1
        chunk = read_be16(part.data + at)
        at += 2
        if not chunk & 0x8000:                         # run length
            symbol = (chunk >> 13) & 3
            run = chunk & 0x1FFF
            if run == 0:
                return -1
            while run > 0 and told < into.count:
                into.received[told] = <uint8_t>symbol
                told += 1
                run -= 1
        elif chunk & 0x4000:                           # seven symbols of two bits
            for i in range(7):
                if told < into.count:
                    into.received[told] = <uint8_t>((chunk >> (12 - 2 * i)) & 3)
                    told += 1
        else:                                          # fourteen of one bit
            for i in range(14):
                if told < into.count:
                    into.received[told] = <uint8_t>((chunk >> (13 - i)) & 1)
                    told += 1
    return at


cdef int read_transport(const RtcpPart* part, TransportReport* into) noexcept nogil:
    cdef int at
    cdef int i
    cdef int32_t reference
    cdef int64_t now_us
    if part.size < HEADER_BYTES + 10:
        return -1
    into.first = read_be16(part.data + HEADER_BYTES)
    into.count = read_be16(part.data + HEADER_BYTES + 2)
    if not 1 <= into.count <= TRANSPORT_PACKETS_MAX:
        return -1
    reference = <int32_t>read_be32(part.data + HEADER_BYTES + 4) >> 8      # 24 bits, signed
    into.reference_us = <int64_t>reference * REFERENCE_US
    at = read_symbols(part, into)
    if at < 0:
        return -1
    now_us = into.reference_us
    for i in range(into.count):
        if into.received[i] == SYMBOL_SMALL:
            if at + 1 > part.size:
                return -1
            now_us += part.data[at] * DELTA_US
            at += 1
        elif into.received[i] == SYMBOL_LARGE:
            if at + 2 > part.size:
                return -1
            now_us += <int64_t>(<short>read_be16(part.data + at)) * DELTA_US
            at += 2
        elif into.received[i] != SYMBOL_LOST:
            return -1                                  # reserved
        into.at_us[i] = now_us
        into.received[i] = into.received[i] != SYMBOL_LOST
    return 0


cdef int symbol_of(int64_t* last_us, int64_t arrival_us, int* delta) noexcept nogil:
    """How one packet is told; -1: its time does not fit into this message any more."""
    cdef int64_t steps
    if arrival_us < 0:
        return SYMBOL_LOST
    steps = arrival_us // DELTA_US - last_us[0] // DELTA_US
    if not -32768 <= steps <= 32767:
        return -1
    last_us[0] = arrival_us
    delta[0] = <int>steps
    return SYMBOL_SMALL if 0 <= steps <= 255 else SYMBOL_LARGE


cdef int write_transport(uint8_t* out, int capacity, uint32_t sender, uint32_t media, uint16_t first,
                         const int64_t* arrivals_us, int count, int number, int* told) noexcept nogil:
    """Two-bit vector chunks only: at most a byte more per four packets than the best choice of chunks."""
    cdef uint8_t symbols[TRANSPORT_PACKETS_MAX]
    cdef int deltas[TRANSPORT_PACKETS_MAX]
    cdef int64_t last_us = 0
    cdef int64_t reference
    cdef int symbol
    cdef int bytes_needed = 0
    cdef int size
    cdef int chunk
    cdef int i = 0
    cdef int k
    if count > TRANSPORT_PACKETS_MAX:
        count = TRANSPORT_PACKETS_MAX
    while i < count and arrivals_us[i] < 0:
        i += 1
    if i == count:
        told[0] = 0
        return 0
    reference = arrivals_us[i] // REFERENCE_US
    last_us = reference * REFERENCE_US
    for i in range(count):
        symbol = symbol_of(&last_us, arrivals_us[i], &deltas[i])
        if symbol < 0 or HEADER_BYTES + 8 + 2 * (i // 7 + 1) + bytes_needed + symbol + 4 > capacity:
            count = i
            break
        symbols[i] = <uint8_t>symbol
        bytes_needed += symbol                         # a small delta has one octet, a large one two
    told[0] = count
    if count == 0:
        return 0
    write_be16(out + HEADER_BYTES, first)
    write_be16(out + HEADER_BYTES + 2, count)
    write_be32(out + HEADER_BYTES + 4, (<uint32_t>(reference & 0xFFFFFF) << 8) | <uint32_t>(number & 0xFF))
    size = HEADER_BYTES + 8
    i = 0
    while i < count:
        chunk = 0xC000
        for k in range(7):
            if i + k < count:
                chunk |= symbols[i + k] << (12 - 2 * k)
        write_be16(out + size, chunk)
        size += 2
        i += 7
    for i in range(count):
        if symbols[i] == SYMBOL_SMALL:
            out[size] = <uint8_t>deltas[i]
            size += 1
        elif symbols[i] == SYMBOL_LARGE:
            write_be16(out + size, <uint32_t>deltas[i])
            size += 2
    while size & 3:                                    # zero octets; a reader stops at the last delta
        out[size] = 0
        size += 1
    return finish(out, RTCP_TRANSPORT_FEEDBACK, FEEDBACK_TRANSPORT, sender, media, size)


def read_for_test(bytes data) -> list[dict[str, object]] | None:
    """What each feedback packet of a compound one says, or None when it is malformed."""
    cdef RtcpPart part
    cdef TransportReport report
    cdef uint16_t sequences[NACK_SEQUENCES_MAX]
    cdef uint32_t ssrcs[16]
    cdef int at = 0
    cdef int got
    out = []
    while True:
        got = rtcp_next(<const uint8_t*>data, len(data), &at, &part)
        if got <= 0:
            return out if got == 0 else None
        item = {"kind": part.kind, "format": part.count}
        if part.kind == RTCP_TRANSPORT_FEEDBACK and part.count == FEEDBACK_NACK:
            got = read_nack(&part, sequences, NACK_SEQUENCES_MAX)
            item["nack"] = [sequences[i] for i in range(got)] if got >= 0 else None
        elif part.kind == RTCP_TRANSPORT_FEEDBACK and part.count == FEEDBACK_TRANSPORT:
            if read_transport(&part, &report) == 0:
                item["first"] = report.first
                item["arrivals_us"] = [report.at_us[i] if report.received[i] else None for i in range(report.count)]
        elif part.kind == RTCP_PAYLOAD_FEEDBACK and part.count == FEEDBACK_FIR:
            got = read_fir(&part, ssrcs, 16)
            item["fir"] = [ssrcs[i] for i in range(got)] if got >= 0 else None
        elif part.kind == RTCP_PAYLOAD_FEEDBACK and part.count == FEEDBACK_APPLICATION:
            item["remb"] = read_remb(&part)
        out.append(item)


def write_for_test(str what, unsigned int sender, unsigned int media, values) -> bytes:
    """what: nack, pli, fir, remb, report or transport; values: numbers, a count, bps, a name, arrivals in us."""
    cdef uint8_t out[1500]
    cdef uint16_t sequences[NACK_SEQUENCES_MAX]
    cdef int64_t arrivals[TRANSPORT_PACKETS_MAX]
    cdef uint32_t ssrcs[1]
    cdef int size = 0
    cdef int told = 0
    if what == "nack":
        for i, value in enumerate(values[:NACK_SEQUENCES_MAX]):
            sequences[i] = value
        size = write_nack(out, sender, media, sequences, min(len(values), NACK_SEQUENCES_MAX))
    elif what == "pli":
        size = write_pli(out, sender, media)
    elif what == "fir":
        size = write_fir(out, sender, media, values)
    elif what == "remb":
        ssrcs[0] = media
        size = write_remb(out, sender, values, ssrcs, 1)
    elif what == "report":
        size = write_empty_report(out, sender, <const char*>(<bytes>values))
    else:
        for i, value in enumerate(values[1][:TRANSPORT_PACKETS_MAX]):
            arrivals[i] = -1 if value is None else value
        size = write_transport(out, 1200, sender, media, values[0], arrivals,
                               min(len(values[1]), TRANSPORT_PACKETS_MAX), 7, &told)
    return (<char*>out)[:size]
