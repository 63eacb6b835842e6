"""The delay that 99 of 100 packets of a stream need, learnt from their arrivals.

Owns a histogram whose newer entries weigh more (each packet a little more than the one before, so that nothing need be
decayed), the quantile that slides along it, and the zero of all delays: the transit time of fast packets in a window of
two seconds, which follows clock drift and changes of the route. Constant work per packet, integers only.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t
from libc.string cimport memset

cdef enum:
    BLOCK_NS = 250000000
    WEIGHT_START = 16384           # of the first packet
    WEIGHT_SHIFT = 9               # each packet weighs 1/512 more than the one before: memory of about 10 s at 20 ms
    WEIGHT_MAX = 1 << 22           # then everything is scaled down by 256
    TAIL_SHARE = 100               # 1 % may come later than the target: by G.107 1 % concealed costs as much as 100 ms
    STEP_MARGIN_NS = 20000000      # the zero moves gently, except by this much: then the route has changed
    STEP_PACKETS = 5


cdef void delay_init(DelayTracker* d, int64_t min_ns, int64_t max_ns) noexcept nogil:
    cdef int i
    memset(d, 0, sizeof(DelayTracker))
    d.target_min_ns = min_ns
    d.target_max_ns = max_ns if max_ns > min_ns else min_ns
    d.target_ns = min_ns
    d.weight = WEIGHT_START
    for i in range(WINDOW_BLOCKS):
        d.block_min_ns[i] = INT64_MAX


cdef void delay_shift(DelayTracker* d, int64_t step_ns) noexcept nogil:
    """The zero of all delays moved up by step_ns: so do the delays that were measured from the old one."""
    cdef int by = <int> (step_ns / DELAY_BUCKET_NS)
    cdef int i
    if by <= 0:
        return
    if by > DELAY_BUCKETS - 1:
        by = DELAY_BUCKETS - 1
    for i in range(by, DELAY_BUCKETS):
        d.buckets[i - by] += d.buckets[i]
        d.buckets[i] = 0
    delay_recount(d)


cdef void delay_recount(DelayTracker* d) noexcept nogil:
    cdef int i
    d.total = 0
    for i in range(DELAY_BUCKETS):
        d.total += d.buckets[i]
    d.tail = 0
    i = DELAY_BUCKETS - 1
    while i > 0 and (d.tail + d.buckets[i]) * TAIL_SHARE <= d.total:
        d.tail += d.buckets[i]
        i -= 1
    d.quantile = i


cdef int64_t fast_transit(const DelayTracker* d) noexcept nogil:
    """Mean of the lower half of the blocks' minima.

    The least of them all would wander with each rare fast packet, and the quantile would have to cover that too.
    """
    cdef int64_t sorted_[WINDOW_BLOCKS]
    cdef int64_t value, total = 0
    cdef int count = 0, i, k
    for i in range(WINDOW_BLOCKS):
        value = d.block_min_ns[i]
        if value == INT64_MAX:
            continue
        k = count
        while k > 0 and sorted_[k - 1] > value:
            sorted_[k] = sorted_[k - 1]
            k -= 1
        sorted_[k] = value
        count += 1
    count = (count + 1) // 2
    for i in range(count):
        total += sorted_[i] - sorted_[0]
    return sorted_[0] + total // count


cdef void delay_roll(DelayTracker* d, int64_t arrival_ns) noexcept nogil:
    """Closes a block of the window; a delay that both latest blocks share becomes the new zero at once."""
    cdef int i
    cdef int before = (d.block + WINDOW_BLOCKS - 1) % WINDOW_BLOCKS
    cdef int64_t least = d.block_min_ns[d.block]
    cdef int64_t older = INT64_MIN
    if d.block_min_ns[before] < least:
        least = d.block_min_ns[before]
    for i in range(WINDOW_BLOCKS):
        if i != d.block and i != before and d.block_min_ns[i] != INT64_MAX and d.block_min_ns[i] > older:
            older = d.block_min_ns[i]
    if d.block_packets >= STEP_PACKETS and older != INT64_MIN and least > older + 2 * STEP_MARGIN_NS:
        for i in range(WINDOW_BLOCKS):
            if i != d.block and i != before:
                d.block_min_ns[i] = INT64_MAX
    d.block = (d.block + 1) % WINDOW_BLOCKS
    d.blocks += 1
    d.block_min_ns[d.block] = INT64_MAX
    d.block_packets = 0
    d.block_start_ns = arrival_ns
    least = fast_transit(d) - d.base_ns
    if least > STEP_MARGIN_NS:
        delay_shift(d, least)
    d.base_ns += least if least > STEP_MARGIN_NS or least < -STEP_MARGIN_NS or d.blocks < 4 else least // 4


cdef void delay_weigh(DelayTracker* d, int bucket) noexcept nogil:
    cdef int i
    d.buckets[bucket] += d.weight
    d.total += d.weight
    if bucket > d.quantile:
        d.tail += d.weight
    while d.tail * TAIL_SHARE > d.total:
        d.quantile += 1
        d.tail -= d.buckets[d.quantile]
    while d.quantile > 0 and (d.tail + d.buckets[d.quantile]) * TAIL_SHARE <= d.total:
        d.tail += d.buckets[d.quantile]
        d.quantile -= 1
    d.weight += d.weight >> WEIGHT_SHIFT
    if d.weight >= WEIGHT_MAX:
        d.weight >>= 8
        for i in range(DELAY_BUCKETS):
            d.buckets[i] >>= 8
        delay_recount(d)


cdef void delay_arrival(DelayTracker* d, int64_t transit_ns, int64_t arrival_ns) noexcept nogil:
    cdef int64_t relative, wanted
    cdef int bucket = DELAY_BUCKETS - 1
    if d.total == 0:
        d.base_ns = transit_ns
        d.block_start_ns = arrival_ns
    if transit_ns < d.block_min_ns[d.block]:
        d.block_min_ns[d.block] = transit_ns
    if transit_ns < d.base_ns and d.blocks == 0:
        d.base_ns = transit_ns
    d.block_packets += 1
    relative = transit_ns - d.base_ns
    if relative < 0:
        bucket = 0
    elif relative < <int64_t> DELAY_BUCKET_NS * (DELAY_BUCKETS - 1):
        bucket = <int> (relative / DELAY_BUCKET_NS)
    delay_weigh(d, bucket)
    if arrival_ns - d.block_start_ns >= BLOCK_NS:
        delay_roll(d, arrival_ns)
    wanted = <int64_t> (d.quantile + 1) * DELAY_BUCKET_NS + d.lookahead_ns
    if wanted < d.target_min_ns:
        wanted = d.target_min_ns
    d.target_ns = wanted if wanted < d.target_max_ns else d.target_max_ns
