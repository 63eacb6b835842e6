"""Redundant audio, RFC 2198.

Owns the format, what a leg has heard already, and when we repeat: from a smoothed loss of 3 % in the far end's reports
on, twice from 8 % on, and no more once less than 1 % was reported for 20 s. Where loss grew by half after it began, it
stops for two reports: if loss falls by a third then, the way cannot carry it, and it stays off for a minute. Knows no
sockets and no legs.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef enum:
    HEADER_BYTES = 12              # RTP's without CSRCs and extension: what we send
    BLOCK_HEADER_BYTES = 4
    LAST_HEADER_BYTES = 1
    ONCE_Q8 = 3 * 65536 // 100     # smoothed loss from which one payload is repeated, in 1/65536
    TWICE_Q8 = 8 * 65536 // 100
    CALM_Q8 = 65536 // 100
    HARM_Q8 = 2 * 65536 // 100
    TRIAL_REPORTS = 2              # with the smoothing three quarters of what is seen is new
    REPORTS_MAX = 1000
    SMOOTHING = 2                  # a new report counts for a half: reports come every five seconds

cdef int64_t CALM_NS = 20000000000
cdef int64_t BARRED_NS = 60000000000


cdef Red* red_new(int payload_type, int audio_type) noexcept nogil:
    cdef Red* red = <Red*>calloc(1, sizeof(Red))
    if red is not NULL:
        red.payload_type = payload_type
        red.audio_type = audio_type
    return red


cdef void red_free(Red* red) noexcept nogil:
    free(red)


cdef int red_parse(const uint8_t* payload, int size, RedPacket* out) noexcept nogil:
    cdef RedBlock* block
    cdef int at = 0
    cdef int i
    out.count = 0
    while True:
        if out.count == RED_BLOCKS_MAX or at >= size:
            return -1
        block = &out.blocks[out.count]
        out.count += 1
        block.payload_type = payload[at] & 0x7F
        if not payload[at] & 0x80:
            block.offset = 0
            at += LAST_HEADER_BYTES
            break
        if at + BLOCK_HEADER_BYTES > size:
            return -1
        block.offset = <uint32_t>payload[at + 1] << 6 | payload[at + 2] >> 2
        block.size = (payload[at + 2] & 3) << 8 | payload[at + 3]
        at += BLOCK_HEADER_BYTES
    for i in range(out.count - 1):
        out.blocks[i].at = at
        at += out.blocks[i].size
        if at > size:
            return -1
    block.at = at
    block.size = size - at
    return 0


cdef int red_first(Red* red, uint16_t sequence, uint32_t timestamp) noexcept nogil:
    cdef int ahead = <int16_t>(sequence - red.highest)
    if not red.started or ahead >= RED_SEEN or ahead < -1000:
        red.started = 1                # a jump, or a source that began anew
        red.highest = sequence
        red.seen = 1
    elif ahead > 0:
        red.seen = red.seen << ahead | 1
        red.highest = sequence
    elif ahead <= -RED_SEEN or (red.seen >> -ahead) & 1:
        return 0
    else:
        red.seen |= <uint64_t>1 << -ahead
    red.stamps[sequence % RED_SEEN] = timestamp
    return 1


cdef bint came(const Red* red, uint16_t sequence) noexcept nogil:
    cdef int behind = <int16_t>(red.highest - sequence)
    return red.started and 0 <= behind < RED_SEEN and (red.seen >> behind) & 1


cdef int red_back(const Red* red, uint16_t carrier, uint32_t timestamp, uint32_t offset, int back) noexcept nogil:
    """RED names no sequence number (RFC 2198 §3), only a time: the block belongs between the packets that came before
    and after that. Where more than one is missing there, by their packet time, else by the count of blocks."""
    cdef uint32_t wanted = timestamp - offset
    cdef uint32_t after = timestamp
    cdef int nearest = 0               # of those sent after it, the last that came
    cdef uint16_t sequence
    cdef int k, step, missing
    for k in range(1, RED_SEEN // 2):
        sequence = <uint16_t>(carrier - k)
        if not came(red, sequence):
            continue
        step = <int32_t>(wanted - red.stamps[sequence % RED_SEEN])
        if step == 0:
            return 0
        if step < 0:
            nearest = k
            after = red.stamps[sequence % RED_SEEN]
            continue
        missing = k - nearest - 1
        if missing <= 1:
            return k - 1 if missing else 0
        step = <int32_t>(after - red.stamps[sequence % RED_SEEN]) // (missing + 1)
        if step > 0 and <int32_t>(after - wanted) % step == 0 and 0 < <int32_t>(after - wanted) // step <= missing:
            return nearest + <int32_t>(after - wanted) // step
        return back if nearest < back < k else 0
    return back if nearest < back else 0


cdef void forget(Red* red) noexcept nogil:
    cdef int i
    for i in range(RED_LEVELS_MAX):
        red.kept[i].size = 0


cdef void red_report(Red* red, int fraction, int64_t now_ns) noexcept nogil:
    red.loss_q8 += ((fraction << 8) - red.loss_q8) // SMOOTHING
    if red.loss_q8 >= CALM_Q8:
        red.calm_ns = 0
    elif red.calm_ns == 0:
        red.calm_ns = now_ns
    if red.payload_type < 0:
        return
    if red.reports < REPORTS_MAX:
        red.reports += 1
    if red.suspect_q8 and not judged(red, now_ns):
        return
    if now_ns < red.barred_ns:
        return
    if red.levels and harms(red, now_ns):
        red.suspect_q8 = red.loss_q8
        stop(red)
    elif red.loss_q8 >= TWICE_Q8:
        repeat(red, 2, fraction)
    elif red.loss_q8 >= ONCE_Q8:
        repeat(red, 1, fraction)
    elif red.levels and red.calm_ns and now_ns - red.calm_ns >= CALM_NS:
        stop(red)


cdef void repeat(Red* red, int levels, int fraction) noexcept nogil:
    if red.levels == 0:
        red.before_q8 = red.loss_q8 if red.loss_q8 > fraction << 8 else fraction << 8
        red.reports = 0
        red.switches += 1
    red.levels = levels


cdef void stop(Red* red) noexcept nogil:
    red.levels = 0
    red.switches += 1
    red.reports = 0
    forget(red)


cdef int harms(const Red* red, int64_t now_ns) noexcept nogil:
    """Loss grew by half and more since repeating began: perhaps because the way cannot carry what is repeated."""
    return red.reports >= TRIAL_REPORTS and now_ns >= red.trusted_ns \
        and red.loss_q8 > red.before_q8 + red.before_q8 // 2 + HARM_Q8


cdef int judged(Red* red, int64_t now_ns) noexcept nogil:
    """Whether it has been seen what loss does alone. Where it fell by a third, repeating cost more than it gave."""
    if red.reports < TRIAL_REPORTS:
        return 0
    if red.loss_q8 < red.suspect_q8 - red.suspect_q8 // 3:
        red.barred_ns = now_ns + BARRED_NS
    else:
        red.trusted_ns = now_ns + BARRED_NS
    red.suspect_q8 = 0
    return 1


cdef void keep(Red* red, const uint8_t* payload, int size, uint16_t sequence, uint32_t timestamp) noexcept nogil:
    cdef RedKept* kept
    if red.kept[red.newest].size and <int16_t>(sequence - red.kept[red.newest].sequence) <= 0:
        return                         # relayed out of order: what comes next goes on from a later one
    red.newest = (red.newest + 1) % RED_LEVELS_MAX
    kept = &red.kept[red.newest]
    kept.timestamp = timestamp
    kept.sequence = sequence
    kept.size = size if size <= RED_KEPT_BYTES else 0
    memcpy(kept.payload, payload, kept.size)


cdef int red_wrap(Red* red, const uint8_t* packet, int size, uint8_t* out, int capacity) noexcept nogil:
    cdef uint16_t sequence
    cdef uint32_t timestamp
    cdef uint32_t offset
    cdef const RedKept* kept
    cdef int head = HEADER_BYTES
    cdef int body
    cdef int repeated[RED_LEVELS_MAX]
    cdef int count = 0
    cdef int i, at
    if red.levels == 0:
        return 0
    if size <= HEADER_BYTES or packet[1] & 0x7F != red.audio_type:
        forget(red)                    # a receiver counts sequence numbers back, and this one held no audio
        return 0
    if capacity > RED_PACKET_BYTES_MAX:
        capacity = RED_PACKET_BYTES_MAX
    sequence = <uint16_t>(packet[2] << 8 | packet[3])
    timestamp = <uint32_t>packet[4] << 24 | packet[5] << 16 | packet[6] << 8 | packet[7]
    body = size + LAST_HEADER_BYTES
    for i in range(red.levels):        # the oldest first
        at = (red.newest + RED_LEVELS_MAX - (red.levels - 1 - i)) % RED_LEVELS_MAX
        kept = &red.kept[at]
        offset = timestamp - kept.timestamp
        # What is missing in between (what is relayed has gaps), too old or too long takes what is before it along: a
        # receiver counts blocks backwards.
        if kept.size == 0 or kept.sequence != <uint16_t>(sequence - red.levels + i) or not 0 < offset <= RED_OFFSET_MAX:
            count = 0
            body = size + LAST_HEADER_BYTES
            continue
        if body + BLOCK_HEADER_BYTES + kept.size > capacity:
            count = 0
            body = size + LAST_HEADER_BYTES
            if body + BLOCK_HEADER_BYTES + kept.size > capacity:
                continue
        repeated[count] = at
        count += 1
        body += BLOCK_HEADER_BYTES + kept.size
    if body > capacity:
        forget(red)
        return 0
    memcpy(out, packet, HEADER_BYTES)
    out[1] = (packet[1] & 0x80) | <uint8_t>red.payload_type
    for i in range(count):
        kept = &red.kept[repeated[i]]
        offset = timestamp - kept.timestamp
        out[head] = 0x80 | <uint8_t>red.audio_type
        out[head + 1] = <uint8_t>(offset >> 6)
        out[head + 2] = <uint8_t>(offset << 2 | <uint32_t>kept.size >> 8)
        out[head + 3] = <uint8_t>kept.size
        head += BLOCK_HEADER_BYTES
    out[head] = <uint8_t>red.audio_type
    head += LAST_HEADER_BYTES
    for i in range(count):
        kept = &red.kept[repeated[i]]
        memcpy(out + head, kept.payload, kept.size)
        head += kept.size
    memcpy(out + head, packet + HEADER_BYTES, size - HEADER_BYTES)
    keep(red, packet + HEADER_BYTES, size - HEADER_BYTES, sequence, timestamp)
    return head + size - HEADER_BYTES


def parse_for_test(bytes payload) -> list[tuple[int, int, bytes]] | None:
    """(payload type, timestamp offset, payload) of each block, the primary last; None: malformed."""
    cdef RedPacket packet
    if red_parse(<const uint8_t*>payload, <int>len(payload), &packet) < 0:
        return None
    return [
        (b.payload_type, b.offset, payload[b.at:b.at + b.size]) for b in packet.blocks[:packet.count]
    ]


cdef class RedForTest:
    """One leg's state, step by step."""

    cdef Red* red

    def __cinit__(self, int payload_type, int audio_type):
        self.red = red_new(payload_type, audio_type)
        if self.red is NULL:
            raise MemoryError

    def __dealloc__(self):
        red_free(self.red)

    def first(self, int sequence, long long timestamp=0) -> bool:
        return red_first(self.red, <uint16_t>sequence, <uint32_t>timestamp) == 1

    def back(self, int carrier, long long timestamp, int offset, int counted) -> int:
        return red_back(self.red, <uint16_t>carrier, <uint32_t>timestamp, <uint32_t>offset, counted)

    def report(self, int fraction, long long now_ns) -> int:
        """The number of payloads repeated from now on."""
        red_report(self.red, fraction, now_ns)
        return self.red.levels

    def wrap(self, bytes packet, int capacity=1500) -> bytes | None:
        cdef uint8_t out[2048]
        size = red_wrap(self.red, <const uint8_t*>packet, <int>len(packet), out, capacity)
        return out[:size] if size else None
