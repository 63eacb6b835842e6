"""The far end's concealment, RFC 7294: how much of what we send it had to make up.

Owns the reading of both blocks and what they add up to. A report may be lost, come twice as a counter, start anew or
lie; the sums only grow, and never by more than the time that has passed. `ext.xr` writes our own blocks.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset
from mediaserver.ext.rtp cimport read_be16, read_be32

cdef enum:
    INTERVAL = 2                       # I, the upper two bits of the flags (RFC 7294 §3.1)
    CUMULATIVE = 3
    TIMES_WORDS = 6
    SECONDS_WORDS = 4
    SLACK_MS = 10000                   # a peer's clock, its longest wait between reports, and whole seconds
    FIRST_MS_MAX = 86400000            # a first report of more than a day of sound is none

cdef uint32_t NOT_SAID = 0xFFFFFFFF
cdef uint32_t OVER_RANGE = 0xFFFFFFFE
cdef int64_t MS = 1000000


cdef uint32_t said32(const uint8_t* p) noexcept nogil:
    cdef uint32_t value = read_be32(p)
    return NOT_SAID if value == OVER_RANGE else value


cdef uint32_t said16(const uint8_t* p) noexcept nogil:
    cdef uint32_t value = read_be16(p)
    return NOT_SAID if value >= 0xFFFE else value


cdef void made_up_read(
    const uint8_t* p, int kind, int flags, int words, uint32_t our_ssrc, MadeUpTold* into
) noexcept nogil:
    cdef int sort = flags >> 6
    cdef int32_t part = MADE_UP_TIMES if kind == BT_LOSS_CONCEALMENT else MADE_UP_SECONDS
    cdef uint32_t* value = into.value
    if words != (TIMES_WORDS if part == MADE_UP_TIMES else SECONDS_WORDS):
        return
    if (sort != INTERVAL and sort != CUMULATIVE) or read_be32(p) != our_ssrc:
        return
    into.parts |= part
    if sort == INTERVAL:
        into.intervals |= part
    else:
        into.intervals &= ~part
    if part == MADE_UP_TIMES:
        value[ON_TIME_MS] = said32(p + 4)
        value[CONCEALED_MS] = said32(p + 8)
        value[ADJUSTED_MS] = said32(p + 12)
        value[INTERRUPTS] = said16(p + 16)
    else:
        value[UNIMPAIRED_S] = said32(p + 4)
        value[CONCEALED_S] = said32(p + 8)
        value[SEVERE_S] = said16(p + 12)


cdef void take_part(
    MadeUp* kept, const MadeUpTold* told, int32_t part, int at, int until, int64_t now_ns
) noexcept nogil:
    cdef int64_t* told_ns = &kept.told_ns[0 if part == MADE_UP_TIMES else 1]
    cdef int64_t room_ms = FIRST_MS_MAX
    cdef int64_t unit_ms = 1 if part == MADE_UP_TIMES else 1000
    cdef int64_t grown[MADE_UP_FIELDS]
    cdef int64_t claimed_ms
    cdef bint anew = False
    cdef int i
    if told_ns[0]:
        room_ms = 2 * (now_ns - told_ns[0]) // MS + SLACK_MS
    told_ns[0] = now_ns
    for i in range(at, until):
        anew |= told.value[i] < kept.last[i]
    for i in range(at, until):
        grown[i] = 0
        if told.value[i] == NOT_SAID:
            continue
        grown[i] = told.value[i]
        if not told.intervals & part:
            if not anew:
                grown[i] -= kept.last[i]
            kept.last[i] = told.value[i]
    if part == MADE_UP_TIMES:
        claimed_ms = grown[ON_TIME_MS] + grown[CONCEALED_MS] + grown[ADJUSTED_MS]
    else:
        claimed_ms = grown[UNIMPAIRED_S] + grown[CONCEALED_S]
        if grown[SEVERE_S] > claimed_ms:
            claimed_ms = grown[SEVERE_S]
    if claimed_ms * unit_ms > room_ms:
        kept.refused += 1
        return
    kept.parts |= part
    for i in range(at, until):
        kept.total[i] += grown[i]


cdef void made_up_take(MadeUp* kept, const MadeUpTold* told, uint32_t reporter, int64_t now_ns) noexcept nogil:
    if not told.parts:
        return
    if reporter != kept.reporter:
        memset(kept.last, 0, sizeof(kept.last))
        kept.reporter = reporter
    if told.parts & MADE_UP_TIMES:
        take_part(kept, told, MADE_UP_TIMES, ON_TIME_MS, UNIMPAIRED_S, now_ns)
    if told.parts & MADE_UP_SECONDS:
        take_part(kept, told, MADE_UP_SECONDS, UNIMPAIRED_S, MADE_UP_FIELDS, now_ns)


# --- for tests

def sums_for_test(list blocks, unsigned int our_ssrc) -> dict[str, object]:
    """blocks: (now_ns, reporter, block with its header) in order of coming."""
    cdef MadeUp kept
    cdef MadeUpTold told
    cdef const uint8_t* p
    memset(&kept, 0, sizeof(kept))
    for now_ns, reporter, block in blocks:
        data = bytes(block)
        p = data
        memset(&told, 0, sizeof(told))
        made_up_read(p + 4, p[0], p[1], <int>len(data) // 4 - 1, our_ssrc, &told)
        made_up_take(&kept, &told, reporter, now_ns)
    return {"parts": kept.parts, "refused": kept.refused, "total": list(kept.total)}
