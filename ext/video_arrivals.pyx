"""Arrival times by transport-wide number until they are told (draft-holmer-rmcat-transport-wide-cc-extensions)."""

from mediaserver.ext.video_feedback cimport TRANSPORT_PACKETS_MAX, write_transport


cdef void arrivals_note(Arrivals* a, uint16_t number, int64_t arrival_ns) noexcept nogil:
    cdef int ahead
    if not a.started:
        a.started = 1
        a.next = number
        a.end = number
    ahead = <short>(number - a.end)
    if ahead < -(<int><uint16_t>(a.end - a.next)):
        return                                     # told of as lost already
    if ahead >= 0:
        if <uint16_t>(number - a.next) >= ARRIVALS_MAX:
            a.next = number                        # a jump: the sender began anew
            a.end = number
        while a.end != <uint16_t>(number + 1):
            a.at_us[a.end & (ARRIVALS_MAX - 1)] = -1
            a.end += 1
    a.at_us[number & (ARRIVALS_MAX - 1)] = arrival_ns // 1000


cdef int arrivals_write(Arrivals* a, uint8_t* out, int capacity, uint32_t sender, uint32_t media,
                        int64_t now_ns) noexcept nogil:
    cdef int64_t at_us[TRANSPORT_PACKETS_MAX]
    cdef int count = <uint16_t>(a.end - a.next)
    cdef int told = 0
    cdef int size
    cdef int i
    if count > TRANSPORT_PACKETS_MAX:
        count = TRANSPORT_PACKETS_MAX
    for i in range(count):
        at_us[i] = a.at_us[<uint16_t>(a.next + i) & (ARRIVALS_MAX - 1)]
    size = write_transport(out, capacity, sender, media, a.next, at_us, count, a.count, &told)
    a.told_ns = now_ns
    if size:
        a.count += 1
    a.next += <uint16_t>(told if size else count)
    return size
