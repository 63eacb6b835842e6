# Datagrams of a leg that are neither RTP nor RTCP (STUN and DTLS, RFC 7983) on their way to Python: a ring of fixed
# slots with one producer, the worker, and one consumer, the control side. Made at start, no lock.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.net cimport Address

cdef enum:
    DATAGRAM_BYTES_MAX = 1500          # longer ones are dropped: no handshake or check of an honest peer is
    DATAGRAMS_PER_LEG_MAX = 32         # of one leg in 100 ms: a flood at one must not push out the handshakes of others

cdef struct Datagram:
    uint64_t handle                    # the leg whose RTP socket it came by
    Address source
    uint16_t size
    uint8_t data[DATAGRAM_BYTES_MAX]

cdef struct DatagramRing:
    Datagram* items
    uint32_t size                      # a power of two
    uint32_t head                      # next to read; the control side's
    uint64_t pad[7]                    # keeps the two ends on cache lines of their own
    uint32_t tail                      # next to write; the worker's

# 0, or -1 without memory.
cdef int datagram_ring_init(DatagramRing* ring, uint32_t size) noexcept nogil
# Copies it in. 0, or -1: full, or too long.
cdef int datagram_push(DatagramRing* ring, uint64_t handle, const uint8_t* data, int size,
                       const Address* source) noexcept nogil
# The oldest one, valid until datagram_done; NULL: none.
cdef const Datagram* datagram_peek(const DatagramRing* ring) noexcept nogil
cdef void datagram_done(DatagramRing* ring) noexcept nogil
