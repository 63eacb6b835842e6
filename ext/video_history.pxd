# The last packets of one received video stream, by sequence number: what every viewer's packets and retransmissions are
# made from. Allocated once by the control side, never while packets flow.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from mediaserver.ext.video_payload cimport PayloadFacts

cdef enum:
    HISTORY_BYTES = 1480               # of one payload with its descriptor extension: an Ethernet frame's worth

cdef struct HistorySlot:
    uint8_t filled
    uint8_t marker
    uint8_t payload_type               # the sender's
    uint8_t has_orientation
    uint8_t orientation
    uint8_t descriptor_size            # dependency descriptor: the first bytes of data
    uint16_t sequence
    uint16_t size                      # payload; 0: padding only
    uint32_t timestamp
    int64_t arrival_ns
    PayloadFacts facts
    uint8_t data[HISTORY_BYTES]

cdef struct History:
    int32_t size                       # a power of two
    HistorySlot slots[1]               # size of them

# NULL: no memory. Control side.
cdef History* history_new(int size) noexcept nogil
cdef void history_free(History* h) noexcept nogil
cdef void history_clear(History* h) noexcept nogil

cdef inline HistorySlot* history_slot(History* h, uint16_t sequence) noexcept nogil:
    return &h.slots[sequence & (h.size - 1)]

# NULL: never came, or is too long ago.
cdef inline HistorySlot* history_find(History* h, uint16_t sequence) noexcept nogil:
    cdef HistorySlot* slot = &h.slots[sequence & (h.size - 1)]
    return slot if slot.filled and slot.sequence == sequence else NULL
