"""RTP header extensions by RFC 8285, read and written.

Owns both element forms. Which number means what is negotiated; unknown ones are stepped over. The elements: MID (RFC
8843), RID and repaired RID (RFC 8852), absolute send time and transport-wide sequence numbers (as browsers write them),
client-to-mixer audio level (RFC 6464), video orientation (3GPP TS 26.114 §7.4.5), AV1's dependency descriptor.
"""

from libc.string cimport memcpy, memset
from mediaserver.ext.rtp cimport read_be16, rtp_parse, write_be16

cdef enum:
    ONE_BYTE = 0xBEDE
    TWO_BYTE = 0x1000                  # and four bits of the application's
    ONE_BYTE_ELEMENT_MAX = 16


cdef void take(const uint8_t* data, int at, int size, int number, const ExtensionNumbers* n,
               Extensions* into) noexcept nogil:
    """One element: data[at : at + size]. A size that does not fit its meaning is as if it were not there."""
    if number == n.mid:
        into.mid_at = <uint16_t>at
        into.mid_size = <uint8_t>size
    elif number == n.rid:
        into.rid_at = <uint16_t>at
        into.rid_size = <uint8_t>size
    elif number == n.repaired_rid:
        into.repaired_rid_at = <uint16_t>at
        into.repaired_rid_size = <uint8_t>size
    elif number == n.dependency_descriptor:
        if size >= 3:
            into.descriptor_at = <uint16_t>at
            into.descriptor_size = <uint8_t>size
    elif number == n.transport_cc:
        if size >= 2:
            into.has_transport_cc = 1
            into.transport_cc = read_be16(data + at)
    elif number == n.abs_send_time:
        if size == ABSOLUTE_SEND_TIME_BYTES:
            into.has_send_time = 1
            into.send_time = (<uint32_t>data[at] << 16) | (<uint32_t>data[at + 1] << 8) | data[at + 2]
    elif number == n.audio_level:
        if size >= 1:
            into.has_audio_level = 1
            into.audio_level = data[at]
    elif number == n.video_orientation:
        if size >= 1:
            into.has_orientation = 1
            into.orientation = data[at]


cdef int extensions_parse(const Packet* packet, const ExtensionNumbers* numbers, Extensions* into) noexcept nogil:
    cdef const uint8_t* data = packet.data
    cdef int at = 12 + 4 * (data[0] & 0x0F) + 4
    cdef int end = packet.payload_offset
    cdef int form
    cdef int number
    cdef int size
    memset(into, 0, sizeof(Extensions))
    if not data[0] & 0x10:
        return 0
    form = read_be16(data + at - 4)
    if form != ONE_BYTE and form & 0xFFF0 != TWO_BYTE:
        return 0                                   # another profile's: not ours to read
    while at < end:
        if data[at] == 0:                          # padding between elements
            at += 1
            continue
        if form == ONE_BYTE:
            number = data[at] >> 4
            size = (data[at] & 0x0F) + 1
            at += 1
            if number == 15 or number == 0:        # §4.2: nothing behind it may be read; 0 with a length likewise
                return 0
        else:
            if at + 2 > end:
                memset(into, 0, sizeof(Extensions))
                return -1
            number = data[at]
            size = data[at + 1]
            at += 2
        if at + size > end:
            memset(into, 0, sizeof(Extensions))
            return -1
        if number:
            take(data, at, size, number, numbers, into)
        at += size
    return 0


cdef int put(uint8_t* out, int at, bint long_form, int number, const uint8_t* data, int size) noexcept nogil:
    if long_form:
        out[at] = <uint8_t>number
        out[at + 1] = <uint8_t>size
        at += 2
    else:
        out[at] = <uint8_t>((number << 4) | (size - 1))
        at += 1
    memcpy(out + at, data, size)
    return at + size


cdef int extensions_write(uint8_t* out, const ExtensionNumbers* numbers, const ExtensionsOut* what) noexcept nogil:
    cdef uint8_t value[4]
    cdef bint describes = what.descriptor is not NULL and numbers.dependency_descriptor
    cdef bint long_form = describes and what.descriptor_size > ONE_BYTE_ELEMENT_MAX
    cdef int at = 4
    if numbers.mid and 0 < what.mid_size <= MID_BYTES_MAX:
        at = put(out, at, long_form, numbers.mid, <const uint8_t*>what.mid, what.mid_size)
    if numbers.abs_send_time and what.has_send_time:
        value[0] = <uint8_t>(what.send_time >> 16)
        value[1] = <uint8_t>(what.send_time >> 8)
        value[2] = <uint8_t>what.send_time
        at = put(out, at, long_form, numbers.abs_send_time, value, ABSOLUTE_SEND_TIME_BYTES)
    if numbers.transport_cc and what.has_transport_cc:
        write_be16(value, what.transport_cc)
        at = put(out, at, long_form, numbers.transport_cc, value, 2)
    if numbers.video_orientation and what.has_orientation:
        value[0] = what.orientation
        at = put(out, at, long_form, numbers.video_orientation, value, 1)
    if describes:
        at = put(out, at, long_form, numbers.dependency_descriptor, what.descriptor, what.descriptor_size)
    if at == 4:
        return 0
    while at & 3:
        out[at] = 0
        at += 1
    write_be16(out, TWO_BYTE if long_form else ONE_BYTE)
    write_be16(out + 2, (at - 4) // 4)
    return at


cdef uint32_t absolute_send_time(int64_t now_ns) noexcept nogil:
    return <uint32_t>((((now_ns // 1000) << 18) // 1000000) & 0xFFFFFF)


cdef ExtensionNumbers numbers_of(dict numbers):
    cdef ExtensionNumbers n
    memset(&n, 0, sizeof(n))
    n.mid = numbers.get("mid", 0)
    n.rid = numbers.get("rid", 0)
    n.repaired_rid = numbers.get("repaired_rid", 0)
    n.abs_send_time = numbers.get("abs_send_time", 0)
    n.transport_cc = numbers.get("transport_cc", 0)
    n.audio_level = numbers.get("audio_level", 0)
    n.video_orientation = numbers.get("video_orientation", 0)
    n.dependency_descriptor = numbers.get("dependency_descriptor", 0)
    return n


def parse_for_test(bytes data, dict numbers) -> dict[str, int] | None:
    """Extensions of one RTP packet by name, or None when it, or they, are malformed."""
    cdef Packet packet
    cdef Extensions got
    cdef ExtensionNumbers n = numbers_of(numbers)
    if len(data) > <Py_ssize_t>sizeof(packet.data):
        return None
    memcpy(packet.data, <const uint8_t*>data, len(data))
    packet.size = <uint16_t>len(data)
    if rtp_parse(&packet) < 0 or extensions_parse(&packet, &n, &got) < 0:
        return None
    return got


def write_for_test(dict numbers, bytes mid, send_time, transport_cc, orientation, bytes descriptor) -> bytes:
    """The extension block with all that is not None, or not empty."""
    cdef ExtensionNumbers n = numbers_of(numbers)
    cdef ExtensionsOut what
    cdef uint8_t out[EXTENSION_BLOCK_BYTES_MAX]
    memset(&what, 0, sizeof(what))
    what.mid = <const char*>mid
    what.mid_size = len(mid)
    if send_time is not None:
        what.has_send_time = 1
        what.send_time = send_time
    if transport_cc is not None:
        what.has_transport_cc = 1
        what.transport_cc = transport_cc
    if orientation is not None:
        what.has_orientation = 1
        what.orientation = orientation
    if descriptor:
        if len(descriptor) > 255:
            raise ValueError("a descriptor has at most 255 bytes")
        what.descriptor = <const uint8_t*>descriptor
        what.descriptor_size = len(descriptor)
    return (<char*>out)[:extensions_write(out, &n, &what)]
