# What the far end says it made up of what we send, RFC 7294: read out of its extended reports and added up.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    BT_LOSS_CONCEALMENT = 30           # RFC 7294 §3
    BT_CONCEALED_SECONDS = 31          # RFC 7294 §4

cdef enum:                             # bits, MADE_UP_…: which of the two blocks
    MADE_UP_TIMES = 1
    MADE_UP_SECONDS = 2

cdef enum:                             # fields of both, in order
    ON_TIME_MS = 0                     # the first four by BT 30
    CONCEALED_MS = 1                   # a packet was lost or late
    ADJUSTED_MS = 2                    # made by stretching, to fill a buffer
    INTERRUPTS = 3
    UNIMPAIRED_S = 4                   # the last three by BT 31
    CONCEALED_S = 5
    SEVERE_S = 6
    MADE_UP_FIELDS = 7

# Blocks of one XR packet. Zeroed says nothing.
cdef struct MadeUpTold:
    int32_t parts                      # MADE_UP_… that are there
    int32_t intervals                  # of those, which are of an interval; the others count since the beginning
    uint32_t value[MADE_UP_FIELDS]     # 2^32 - 1: not said

# Added up over all reports; grows only. Zeroed is ready.
cdef struct MadeUp:
    int32_t parts                      # MADE_UP_… ever told
    uint32_t reporter                  # SSRC of who told
    uint32_t refused                   # blocks that claimed more time than there was
    int64_t told_ns[2]                 # when, by part; 0: never
    uint32_t last[MADE_UP_FIELDS]      # of counters since the beginning
    uint64_t total[MADE_UP_FIELDS]

# p: a block's words behind its header, 4 * words bytes; flags: the header's second byte. Of another length than its
# kind has, about another SSRC, or of an unknown sort of measurement: nothing is said.
cdef void made_up_read(
    const uint8_t* p, int kind, int flags, int words, uint32_t our_ssrc, MadeUpTold* into
) noexcept nogil
# Adds what is new since the last packet: differences of counters, intervals as they are. A counter that fell or another
# reporter, begins anew. What claims more time than has passed is not added.
cdef void made_up_take(MadeUp* kept, const MadeUpTold* told, uint32_t reporter, int64_t now_ns) noexcept nogil
