# How much delay the network asks for: the distribution of arrival delays, with a zero that follows clock and route.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum:
    DELAY_BUCKETS = 128
    DELAY_BUCKET_NS = 5000000
    WINDOW_BLOCKS = 8              # the zero of all delays: mean of the least delays of the better half of 8 blocks

cdef struct DelayTracker:          # distribution of arrival delays over that of fast packets; about 1.2 kB
    int64_t target_min_ns
    int64_t target_max_ns
    int64_t target_ns              # what costs least, bounded
    int64_t lookahead_ns           # asked for on top: with real loss, so that the packet after the hole is there
    int64_t base_ns                # arrival - media time of a fast packet: see WINDOW_BLOCKS
    int64_t block_start_ns
    int64_t block_min_ns[WINDOW_BLOCKS]
    int32_t blocks                 # closed so far
    int32_t block_packets
    int32_t block
    int32_t held                   # bucket that the target covers
    int32_t highest                # no bucket above holds anything
    int32_t lost_q16               # share of packets that never come: what lateness is added to; set from outside
    uint32_t weight                # of the next packet; grows instead of the old ones decaying
    uint64_t total
    int32_t last                   # bucket of the latest arrival
    uint32_t buckets[DELAY_BUCKETS]
    uint32_t after[DELAY_BUCKETS]  # the lesser of a packet's bucket and that of the one before: how lateness runs

cdef void delay_init(DelayTracker* d, int64_t min_ns, int64_t max_ns) noexcept nogil
# transit: arrival - media time. Moves base_ns and target_ns.
cdef void delay_arrival(DelayTracker* d, int64_t transit_ns, int64_t arrival_ns) noexcept nogil
