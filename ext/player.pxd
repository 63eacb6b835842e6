# What a playout plays next: a packet decoded, a hole filled, comfort noise; and whether time is stretched for it.
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint64_t
from mediaserver.ext.jitter cimport JITTER_SLOTS, JitterBuffer
from mediaserver.ext.line cimport SampleLine
from mediaserver.ext.packet cimport Packet, PacketPool
from mediaserver.ext.plc cimport Plc
from mediaserver.ext.receivers cimport Receiver, ReceiverSet

cdef struct Player:
    JitterBuffer jitter
    ReceiverSet receivers
    Receiver* voice                # what decodes now
    Receiver* comfort              # set while a CN packet describes the present gap
    int32_t rate_hz                # of what is pulled
    int32_t playing
    int32_t roomy                  # packets or pulls of more than 20 ms have been: the line has room for the longest
    int32_t rebuffer               # after a restart: wait for the target delay again
    int32_t wanted                 # samples that must wait in the line after this pull
    int32_t since_control          # samples decoded since the last control step
    int32_t refused                # control steps in a row that found no periods alike enough
    int64_t slack_low_ns           # least slack since then
    int64_t early_low_ns           # least time that a packet's first sample then waited in the line
    SampleLine line
    Plc plc
    Packet* slots[JITTER_SLOTS]

# *p is all zero.
cdef void player_init(Player* p, int64_t min_delay_ns, int64_t max_delay_ns, int rate_hz) noexcept nogil
# Room in the line for a packet of `samples` of this receiver. Allocates: once per codec of a leg, and once more for the
# first Opus packet of more than 20 ms. 0, or -1 without memory.
cdef int player_reserve(Player* p, const Receiver* receiver, int samples) noexcept nogil
cdef void player_release(Player* p, uint16_t sequence, PacketPool* pool) noexcept nogil
cdef void player_release_all(Player* p, PacketPool* pool) noexcept nogil
# Lets `samples` of the pulled rate wait in the line; returns how many those are there, -1: nothing is played yet.
cdef int player_fill(Player* p, int64_t now_ns, int samples, PacketPool* pool) noexcept nogil
