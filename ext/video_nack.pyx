"""Missing packets of a received stream: noted at the gap, asked for until they come or are too old.

The first request waits NACK_REORDER_NS, so that swapped packets cost nothing; the next ones wait a round trip, because
an answer cannot be there before.
"""

cdef enum:
    RETRY_NS_MIN = 20000000
    RETRY_NS_MAX = 500000000


cdef void drop(NackList* n, int at) noexcept nogil:
    n.count -= 1
    while at < n.count:
        n.items[at] = n.items[at + 1]
        at += 1


cdef int nack_add(NackList* n, uint16_t first, uint16_t last, int64_t now_ns) noexcept nogil:
    cdef int missed = <uint16_t>(last - first)
    cdef Missing* item
    while missed > 0 and n.count < NACK_WAITING_MAX:
        item = &n.items[n.count]
        item.sequence = first
        item.tries = 0
        item.since_ns = now_ns
        item.asked_ns = 0
        n.count += 1
        first += 1
        missed -= 1
    return missed


cdef int nack_remove(NackList* n, uint16_t sequence) noexcept nogil:
    cdef int i
    for i in range(n.count):
        if n.items[i].sequence == sequence:
            drop(n, i)
            return 1
    return 0


cdef int nack_due(NackList* n, int64_t now_ns, int64_t round_trip_ns, uint16_t* out, int capacity,
                  int* given_up) noexcept nogil:
    cdef int64_t retry_ns = round_trip_ns + round_trip_ns // 4
    cdef int count = 0
    cdef int i = 0
    cdef Missing* item
    retry_ns = RETRY_NS_MIN if retry_ns < RETRY_NS_MIN else (RETRY_NS_MAX if retry_ns > RETRY_NS_MAX else retry_ns)
    while i < n.count:
        item = &n.items[i]
        if now_ns - item.since_ns >= NACK_AGE_MAX_NS or (
            item.tries >= NACK_TRIES_MAX and now_ns - item.asked_ns >= retry_ns
        ):
            drop(n, i)
            given_up[0] += 1
            continue
        if item.tries == 0:
            if now_ns - item.since_ns >= NACK_REORDER_NS and count < capacity:
                out[count] = item.sequence
                count += 1
                item.tries = 1
                item.asked_ns = now_ns
        elif item.tries < NACK_TRIES_MAX and now_ns - item.asked_ns >= retry_ns and count < capacity:
            out[count] = item.sequence
            count += 1
            item.tries += 1
            item.asked_ns = now_ns
        i += 1
    return count


cdef class NackListForTest:
    """One list of missing packets."""

    cdef NackList list

    def add(self, int first, int last, int64_t now_ns) -> int:
        return nack_add(&self.list, <uint16_t>first, <uint16_t>last, now_ns)

    def remove(self, int sequence) -> bool:
        return bool(nack_remove(&self.list, <uint16_t>sequence))

    def due(self, int64_t now_ns, int64_t round_trip_ns) -> tuple[list[int], int]:
        """(sequence numbers to ask for, how many were given up)."""
        cdef uint16_t out[NACK_WAITING_MAX]
        cdef int given_up = 0
        cdef int count = nack_due(&self.list, now_ns, round_trip_ns, out, NACK_WAITING_MAX, &given_up)
        return [out[i] for i in range(count)], given_up
