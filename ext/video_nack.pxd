# Which packets of one received stream are missing and when to ask for them again (RFC 4585 §6.2.1). Bounded, no clock
# of its own.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

cdef enum:
    NACK_WAITING_MAX = 256             # a second of 250 packets/s; more missing at once is not loss but an outage
    NACK_TRIES_MAX = 10
    NACK_REORDER_NS = 5000000          # a gap may be mere reordering for so long
    NACK_AGE_MAX_NS = 1000000000       # later nobody shows the picture any more

cdef struct Missing:
    uint16_t sequence
    uint8_t tries
    int64_t since_ns
    int64_t asked_ns

cdef struct NackList:                  # zeroed is ready; in the order the gaps were seen
    int32_t count
    Missing items[NACK_WAITING_MAX]

# Sequence numbers first..last - 1 did not come. Returns how many could not be noted: ask for a key frame instead.
cdef int nack_add(NackList* n, uint16_t first, uint16_t last, int64_t now_ns) noexcept nogil
# It came after all. 1: it was missing.
cdef int nack_remove(NackList* n, uint16_t sequence) noexcept nogil
# Up to capacity sequence numbers to ask for now. *given_up grows by those that are past hope.
cdef int nack_due(NackList* n, int64_t now_ns, int64_t round_trip_ns, uint16_t* out, int capacity,
                  int* given_up) noexcept nogil
