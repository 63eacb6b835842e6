# RTP header extensions (RFC 8285, one- and two-byte form): what a forwarder reads of them, and what it writes.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from mediaserver.ext.packet cimport Packet

cdef enum:
    MID_BYTES_MAX = 16                 # RFC 8843 §15: at least this much; longer ones are not sent
    EXTENSION_BLOCK_BYTES_MAX = 340    # header 4, MID 18, send time 5, number 4, orientation 3, descriptor 257, padding
    ABSOLUTE_SEND_TIME_BYTES = 3

cdef struct ExtensionNumbers:          # model_video.ExtensionIds; 0: not agreed
    uint8_t mid
    uint8_t rid
    uint8_t repaired_rid
    uint8_t abs_send_time
    uint8_t transport_cc
    uint8_t audio_level
    uint8_t video_orientation
    uint8_t dependency_descriptor

cdef struct Extensions:                # what one packet carries; offsets are into packet.data, 0: not there
    uint16_t mid_at
    uint16_t rid_at
    uint16_t repaired_rid_at
    uint16_t descriptor_at
    uint8_t mid_size
    uint8_t rid_size
    uint8_t repaired_rid_size
    uint8_t descriptor_size
    uint8_t has_transport_cc
    uint8_t has_send_time
    uint8_t has_orientation
    uint8_t orientation
    uint8_t has_audio_level
    uint8_t audio_level                # RFC 6464: V bit and level
    uint16_t transport_cc
    uint32_t send_time                 # 24 bits, 1/2^18 s

# A parsed packet's. 0, or -1: malformed; then and without an extension `into` says nothing is there.
cdef int extensions_parse(const Packet* packet, const ExtensionNumbers* numbers, Extensions* into) noexcept nogil

cdef struct ExtensionsOut:             # what goes into one outgoing packet
    const char* mid
    int32_t mid_size
    int32_t has_send_time
    uint32_t send_time
    int32_t has_transport_cc
    uint16_t transport_cc
    int32_t has_orientation
    uint8_t orientation
    const uint8_t* descriptor          # NULL: none
    int32_t descriptor_size

# The whole block with its header, padded to 32 bits, behind a fixed RTP header; 0: nothing to say, no block.
# out[EXTENSION_BLOCK_BYTES_MAX].
cdef int extensions_write(uint8_t* out, const ExtensionNumbers* numbers, const ExtensionsOut* what) noexcept nogil
# Monotonic ns as the 24-bit absolute send time.
cdef uint32_t absolute_send_time(int64_t now_ns) noexcept nogil
