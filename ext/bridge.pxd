# Who hears whom. A bridge holds rows of legs and a matrix of bits; from these, and from what the legs have negotiated, it
# decides for each listener whether it is relayed or gets a mix, and for each speaker whether it must be decoded.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg

cdef enum:
    BRIDGE_ROWS_START = 4              # most bridges are calls of two
    BRIDGE_ROWS_MAX = 1024

cdef struct Bridge:
    uint64_t handle
    int32_t capacity                   # rows
    int32_t words                      # uint64 words per row of the matrix
    int32_t members
    int32_t rows                       # highest used + 1
    int32_t mixing                     # some listener needs a mix: ticked
    int32_t index                      # in the worker's list of ticked bridges; -1: not there
    Leg** legs                         # by row; NULL: free
    uint64_t* hears                    # row = listener, bit = speaker

# Allocates: control path only. NULL without memory. rows is rounded up to 4 or multiples of 64.
cdef Bridge* bridge_new(int rows) noexcept nogil
cdef void bridge_free(Bridge* b) noexcept nogil
# Everything of `smaller` moves into `larger`; `smaller` is an empty shell then.
cdef void bridge_grow(Bridge* larger, Bridge* smaller) noexcept nogil
# 0; -1: no free row.
cdef int bridge_add(Context* ctx, Bridge* b, Leg* leg) noexcept nogil
cdef void bridge_remove(Context* ctx, Bridge* b, Leg* leg) noexcept nogil
cdef void bridge_set_hears(Context* ctx, Bridge* b, Leg* listener, Leg* speaker, bint hears) noexcept nogil
cdef bint bridge_hears(const Bridge* b, int listener_row, int speaker_row) noexcept nogil
# After any change of membership, matrix, stream, mute, gain or play: who is relayed, who is decoded, who is mixed.
cdef void bridge_decide(Context* ctx, Bridge* b) noexcept nogil
# The same for a leg whatever it is in, or in none.
cdef void leg_decide(Context* ctx, Leg* leg) noexcept nogil
