# Who hears whom. A bridge holds rows of legs and a matrix of bits; from these, and from what the legs have negotiated,
# it decides for each listener whether it is relayed or gets a mix, and for each speaker whether it must be decoded.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg

cdef enum:
    BRIDGE_ROWS_START = 4              # most bridges are calls of two
    BRIDGE_ROWS_MAX = 1024
    BRIDGE_WORDS_MAX = 16
    SHARES_MAX = 12                    # different encodings of one mix kept apart; Opus counts with and without FEC

cdef struct Bridge:
    uint64_t handle
    int32_t capacity                   # rows
    int32_t words                      # uint64 words per row of the matrix
    int32_t members
    int32_t rows                       # highest used + 1
    int32_t mixing                     # some listener needs a mix: ticked
    int32_t mix_rate_hz                # the second highest of the legs' rates: nobody hears or says more
    int32_t ticking_index              # in the context's list; -1: not there
    Leg* leaders[SHARES_MAX]           # whose encoder serves all who hear the whole mix in one encoding
    uint64_t share_keys[SHARES_MAX]
    Leg* speaker                       # the active one; NULL: none yet
    int32_t louder_ticks               # how long another has been clearly louder
    uint64_t speaker_handle            # what Python was told, or will read
    uint32_t changes
    Leg** legs                         # by row; NULL: free
    uint64_t* hears                    # row = listener, bit = speaker

# Allocates: control path only. NULL without memory. rows is rounded up to 4 or multiples of 64.
cdef Bridge* bridge_new(int rows) noexcept nogil
cdef void bridge_free(Bridge* b) noexcept nogil
# Everything of `smaller` moves into `larger`; `smaller` is an empty shell then.
cdef void bridge_grow(Context* ctx, Bridge* larger, Bridge* smaller) noexcept nogil
# 0; -1: no free row.
cdef int bridge_add(Context* ctx, Bridge* b, Leg* leg) noexcept nogil
cdef void bridge_remove(Context* ctx, Bridge* b, Leg* leg) noexcept nogil
cdef void bridge_set_hears(Context* ctx, Bridge* b, Leg* listener, Leg* speaker, bint hears) noexcept nogil
# The leg's voice is going away: nobody follows it any more.
cdef void bridge_forget_voice(Bridge* b, Leg* leg) noexcept nogil
cdef void bridge_unfollow(Leg* leg) noexcept nogil
# The leg's encoder goes on by itself from here, without a seam; those that followed it follow one of them instead.
cdef void bridge_part(Bridge* b, Leg* leg) noexcept nogil
cdef bint bridge_hears(const Bridge* b, int listener_row, int speaker_row) noexcept nogil
# After any change of membership, matrix, stream, mute, gain or play: who is relayed, who is decoded, who is mixed.
cdef void bridge_decide(Context* ctx, Bridge* b) noexcept nogil
# The same for a leg whatever it is in, or in none.
cdef void leg_decide(Context* ctx, Leg* leg) noexcept nogil
