"""The delay to hold for a stream, learnt from its arrivals: where delay and lateness together cost least by G.107.

Owns a histogram whose newer entries weigh more (each packet a little more than the one before, so that nothing need be
decayed), the choice of the bucket to hold, and the zero of all delays: the transit time of fast packets in a window of
two seconds, which follows clock drift and changes of the route. A packet beyond what is held moves the choice at once;
downwards it is made four times a second. Integers only; constant work per packet but for the choice, one pass over the
slower part of the histogram.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t
from libc.string cimport memset

cdef enum:
    BLOCK_NS = 250000000
    WEIGHT_START = 16384           # of the first packet
    WEIGHT_SHIFT = 9               # each packet weighs 1/512 more than the one before: memory of about 10 s at 20 ms
    WEIGHT_MAX = 1 << 22           # then everything is scaled down by 256
    # What a target costs by G.107, in thousandths of R. Held: Id, piecewise, with 50 ms for packet and network besides.
    SLOPE_MR = 22                  # a millisecond while the way is short
    KNEE_MS = 110                  # 160 ms from mouth to ear: here Idd begins
    KNEE_SLOPE_MR = 75
    STEEP_MS = 40                  # beyond the knee
    STEEP_SLOPE_MR = 130
    # Late: Ie,eff of G.711 with concealment (Bpl 25.1), and what runs of losses cost beyond it: quality/factors.py.
    LOSS_MR = 95000
    BPL_Q16 = 16450                # 25.1 %
    RUNS_MR = 19600                # in full where one in RUNS_FULL_SHARE is late (3.6 %)
    RUNS_FULL_SHARE = 28
    UNSEEN_BUCKETS = 16            # so far beyond the slowest packet known the next one is looked for
    TAIL_SHARE = 16                # the slowest sixteenth tells how fast delays thin out,
    TAIL_PACKETS = 4               # and as many packets at least: at the start of a call they are all there is
    START_BLOCKS = 6               # 1.5 s: so long a whole packet is taken to come beyond the slowest, then a half
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
        d.after[i - by] += d.after[i]
        d.buckets[i] = d.after[i] = 0
    d.highest = d.highest - by if d.highest > by else 0
    delay_choose(d)


cdef inline int64_t delay_cost_mr(int bucket) noexcept nogil:
    cdef int64_t ms = (bucket + 1) * (DELAY_BUCKET_NS // 1000000)
    if ms <= KNEE_MS:
        return ms * SLOPE_MR
    if ms <= KNEE_MS + STEEP_MS:
        return KNEE_MS * SLOPE_MR + (ms - KNEE_MS) * KNEE_SLOPE_MR
    return KNEE_MS * SLOPE_MR + STEEP_MS * KNEE_SLOPE_MR + (ms - KNEE_MS - STEEP_MS) * STEEP_SLOPE_MR


cdef inline int64_t single_cost_mr(uint64_t total, uint64_t late, int64_t lost_q16) noexcept nogil:
    """The same for packets that come too late, each by itself. Rises with late.

    Where packets are lost anyway (lost_q16), some more matter less: Ie,eff rises ever more slowly.
    """
    cdef int64_t late_q16 = <int64_t> ((late << 16) // total)
    return <int64_t> LOSS_MR * BPL_Q16 * late_q16 // ((late_q16 + lost_q16 + BPL_Q16) * (lost_q16 + BPL_Q16))


cdef inline int64_t lateness_cost_mr(uint64_t total, uint64_t late, uint64_t following,
                                     int64_t lost_q16) noexcept nogil:
    """The same where they come in runs. following: weight of those that follow a late one; single: BurstR^-1."""
    cdef int64_t single_q10, runs
    if late == 0:
        return 0
    single_q10 = <int64_t> ((late - following) * 1024 // late) if late > following else 0
    runs = <int64_t> (late * RUNS_MR * RUNS_FULL_SHARE // total)
    if runs > RUNS_MR:
        runs = RUNS_MR
    runs -= runs * (single_q10 * single_q10 // 1024 * single_q10 // 1024) // 1024
    return single_cost_mr(total, late, lost_q16) + runs


cdef inline uint64_t tail_q16(const DelayTracker* d) noexcept nogil:
    """By how much delays thin out from bucket to bucket, were they exponential: mean excess / (mean excess + 1)."""
    cdef uint64_t beyond = 0, excess = 0
    cdef int i
    for i in range(d.highest, -1, -1):
        excess += beyond                           # in buckets, over bucket i
        beyond += d.buckets[i]
        if beyond * TAIL_SHARE > d.total and beyond >= <uint64_t> d.weight * TAIL_PACKETS:
            break
    return (excess << 16) // (excess + beyond)


cdef void delay_choose(DelayTracker* d) noexcept nogil:
    """The bucket at which delay and lateness together cost least.

    Of a single run of late packets it is not known whether there will be another: it counts for a half.
    Less than what is held must be worth it even if lateness were a quarter more than it is known to be: a target on the
    edge would go to and fro, and come down just before the next spike.
    Nor is the slowest packet known the slowest there is: of n+1 packets the last is as likely as each other one to be
    it. Half a packet is taken to come beyond, as far as delays thin out; a whole one while the call begins, when little
    is known and to be late costs a hole and a stretch at once. A steady network has no such tail.
    """
    cdef uint64_t late = 0, following = 0, thinning, rare, unseen
    cdef int64_t cost, lateness, least = INT64_MAX
    cdef int held = d.held
    cdef int i
    while d.highest > 0 and d.buckets[d.highest] == 0:
        d.highest -= 1
    thinning = tail_q16(d)
    rare = unseen = (d.weight if d.blocks < START_BLOCKS else d.weight // 2) * thinning >> 16
    for i in range(d.highest, d.highest + UNSEEN_BUCKETS):
        if i >= DELAY_BUCKETS or delay_cost_mr(i) >= least:
            break                                  # lateness adds to that: no higher bucket costs less
        lateness = lateness_cost_mr(d.total + d.weight, unseen, 0, d.lost_q16)
        cost = delay_cost_mr(i) + (lateness * 5 // 4 if i < held else lateness)
        if cost < least:
            least = cost
            d.held = i
        unseen = unseen * thinning >> 16
    for i in range(d.highest, -1, -1):
        if single_cost_mr(d.total + d.weight, late + rare, d.lost_q16) // 2 >= least:
            break                                  # nor does any lower bucket cost less
        lateness = lateness_cost_mr(d.total + d.weight, late + rare, following, d.lost_q16)
        if late < following + d.weight:            # one run is all that is known of: a stall may have been the only one
            lateness //= 2
        cost = delay_cost_mr(i) + (lateness * 5 // 4 if i < held else lateness)
        if cost < least:
            least = cost
            d.held = i
        late += d.buckets[i]
        following += d.after[i]


cdef int64_t fast_transit(const DelayTracker* d) noexcept nogil:
    """Mean of the lower half of the blocks' minima.

    The least of them all would wander with each rare fast packet, and the target would have to cover that too.
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
    else:
        delay_choose(d)
    d.base_ns += least if least > STEP_MARGIN_NS or least < -STEP_MARGIN_NS or d.blocks < 4 else least // 4


cdef void delay_weigh(DelayTracker* d, int bucket) noexcept nogil:
    cdef int i
    d.buckets[bucket] += d.weight
    d.after[bucket if bucket < d.last else d.last] += d.weight
    d.last = bucket
    d.total += d.weight
    if bucket > d.highest:
        d.highest = bucket
    d.weight += d.weight >> WEIGHT_SHIFT
    if d.weight >= WEIGHT_MAX:
        d.weight >>= 8
        d.total = 0
        for i in range(DELAY_BUCKETS):
            d.buckets[i] >>= 8
            d.after[i] >>= 8
            d.total += d.buckets[i]
    if bucket > d.held:
        delay_choose(d)


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
    wanted = <int64_t> (d.held + 1) * DELAY_BUCKET_NS + d.lookahead_ns
    if wanted < d.target_min_ns:
        wanted = d.target_min_ns
    d.target_ns = wanted if wanted < d.target_max_ns else d.target_max_ns
