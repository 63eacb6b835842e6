# Redundant audio, RFC 2198: each packet carries the payloads before it once more, so that a lost one comes with the
# next. Taking such packets apart, and putting them together while the receiver's reports say that it pays.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RED_BLOCKS_MAX = 8             # of one packet, the primary included; senders use two or three
    RED_LEVELS_MAX = 2             # payloads we repeat: losses in pairs are mended too
    RED_KEPT_BYTES = 640           # a payload longer than this is not repeated; RFC 2198 §3 allows 1023
    RED_OFFSET_MAX = 16383         # 14 bits of timestamp
    RED_PACKET_BYTES_MAX = 1200    # with what is repeated: IPv6's least MTU, 1280, less IP, UDP and SRTP's tag
    RED_SEEN = 64                  # sequence numbers remembered

cdef struct RedBlock:
    int32_t payload_type
    uint32_t offset                # RTP units before the packet's timestamp; 0: the primary
    int32_t at                     # of its payload in the packet's
    int32_t size

cdef struct RedPacket:
    int32_t count
    RedBlock blocks[RED_BLOCKS_MAX]    # oldest first; the last is the primary

cdef struct RedKept:
    uint32_t timestamp
    uint16_t sequence
    int32_t size                   # 0: nothing
    uint8_t payload[RED_KEPT_BYTES]

cdef struct Red:                   # of one leg
    # --- what it sends us
    int32_t started
    uint16_t highest
    uint64_t seen                  # bit n: highest - n has come, by itself or repeated
    uint32_t stamps[RED_SEEN]      # their timestamps, by sequence number
    # --- what we send it
    int32_t payload_type           # of RED; -1: it takes none
    int32_t audio_type             # what is repeated
    int32_t levels                 # repeated now, 0..RED_LEVELS_MAX
    uint32_t switches              # how often repeating began or ended
    int32_t loss_q8                # smoothed fraction of its reports, 1/256 * 256
    int64_t calm_ns                # since when it reports hardly any loss; 0: it does
    int32_t before_q8              # loss that was reported when repeating began
    int32_t reports                # since then
    int32_t suspect_q8             # loss at which it was stopped, to see whether it falls; 0: no such trial
    int64_t barred_ns              # not repeated before this
    int64_t trusted_ns             # no trial before this
    int32_t newest                 # in kept
    RedKept kept[RED_LEVELS_MAX]

# Allocates: control path only. payload_type -1: only taken apart. NULL without memory.
cdef Red* red_new(int payload_type, int audio_type) noexcept nogil
cdef void red_free(Red* red) noexcept nogil
# payload[size] of a RED packet. 0; -1: malformed.
cdef int red_parse(const uint8_t* payload, int size, RedPacket* out) noexcept nogil
# This sequence number has come. 1 when it is the first time, 0 when it was here before or is too old to tell.
cdef int red_first(Red* red, uint16_t sequence, uint32_t timestamp) noexcept nogil
# How many packets before its carrier the one was sent that a block repeats, `back` by the count of blocks; 0: it has
# come, or nothing is missing where it belongs.
cdef int red_back(const Red* red, uint16_t carrier, uint32_t timestamp, uint32_t offset, int back) noexcept nogil
# A receiver report says which share of what we sent was lost, in 1/256: decides how many payloads are repeated.
cdef void red_report(Red* red, int fraction, int64_t now_ns) noexcept nogil
# packet[size]: 12 bytes of header and a payload. Writes it with the kept payloads into out[capacity] and keeps it in
# turn. Returns the size, or 0: to be sent as it is.
cdef int red_wrap(Red* red, const uint8_t* packet, int size, uint8_t* out, int capacity) noexcept nogil
