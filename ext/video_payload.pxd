# What the first bytes of one video payload say of its frame: VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184,
# packetization modes 0 and 1), AV1 (RTP payload format 1.0). Plain data; nothing is decoded.
from libc.stdint cimport uint8_t, uint16_t

cdef enum VideoCodecId:                # in the order of model_video.VideoCodec
    VIDEO_VP8 = 1
    VIDEO_H264 = 2
    VIDEO_VP9 = 3
    VIDEO_AV1 = 4

cdef struct PayloadFacts:
    uint8_t key                        # a key frame begins in this packet
    uint8_t start                      # first packet of a frame (or spatial layer); H.264 does not say: 0
    uint8_t temporal                   # temporal layer, 0 when unknown
    uint8_t sync                       # VP8 Y, VP9 U: from here on this temporal layer can be decoded
    uint8_t spatial                    # VP9
    uint8_t discardable                # VP8 N, H.264 nal_ref_idc 0: no other frame refers to it
    uint8_t picture_bits               # width of the picture id: 0, 7 or 15
    uint8_t picture_at                 # its offset in the payload
    uint8_t tl0_at                     # offset of TL0PICIDX; 0: none
    uint8_t tl0
    uint16_t picture

# payload[size], size > 0. 0, or -1: malformed. `facts` is written either way.
cdef int payload_parse(int codec, const uint8_t* payload, int size, PayloadFacts* facts) noexcept nogil
# Puts another picture id and TL0PICIDX into payload, a copy of the one that gave `facts`.
cdef void payload_patch(uint8_t* payload, const PayloadFacts* facts, int picture, int tl0) noexcept nogil
