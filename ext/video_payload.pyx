"""Payload descriptors of the video codecs we forward.

Owns the reading of what a selective forwarder must know (where frames and key frames begin, which temporal layer a
packet belongs to) and the rewriting of VP8 and VP9 picture ids. Follows RFC 7741 §4.2, RFC 9628 §4.2, RFC 6184 §5 and
the AV1 RTP specification §4.4. Every length is checked: what does not fit its packet is malformed.
"""

from libc.string cimport memcpy, memset

cdef enum:
    H264_NAL_IDR = 5
    H264_NAL_SPS = 7
    H264_NAL_SINGLE_MAX = 23
    H264_STAP_A = 24
    H264_FU_A = 28
    AV1_LEB128_BYTES_MAX = 8


cdef int read_picture(const uint8_t* p, int size, int at, PayloadFacts* f) noexcept nogil:
    """The offset behind a 7 or 15 bit picture id, or -1."""
    if at >= size:
        return -1
    f.picture_at = <uint8_t>at
    if p[at] & 0x80:
        if at + 1 >= size:
            return -1
        f.picture_bits = 15
        f.picture = <uint16_t>(((p[at] & 0x7F) << 8) | p[at + 1])
        return at + 2
    f.picture_bits = 7
    f.picture = p[at]
    return at + 1


cdef int parse_vp8(const uint8_t* p, int size, PayloadFacts* f) noexcept nogil:
    cdef int at = 1
    cdef int extension
    f.discardable = (p[0] >> 5) & 1
    f.start = (p[0] & 0x17) == 0x10                # S set, partition 0
    if p[0] & 0x80:
        if size < 2:
            return -1
        extension = p[1]
        at = 2
        if extension & 0x80:
            at = read_picture(p, size, at, f)
            if at < 0:
                return -1
        if extension & 0x40:
            if at >= size:
                return -1
            f.tl0_at = <uint8_t>at
            f.tl0 = p[at]
            at += 1
        if extension & 0x30:
            if at >= size:
                return -1
            if extension & 0x20:
                f.temporal = p[at] >> 6
                f.sync = (p[at] >> 5) & 1
            at += 1
    if at >= size:
        return -1
    f.key = f.start and not p[at] & 1              # RFC 7741 §4.3: P is 0 in key frames
    if f.temporal == 0:
        f.sync = 1
    return 0


cdef int skip_vp9_structure(const uint8_t* p, int size, int at) noexcept nogil:
    """The offset behind the scalability structure, or -1."""
    cdef int head
    cdef int groups
    if at >= size:
        return -1
    head = p[at]
    at += 1
    if head & 0x10:
        at += 4 * ((head >> 5) + 1)
    if head & 0x08:
        if at >= size:
            return -1
        groups = p[at]
        at += 1
        while groups > 0:
            if at >= size:
                return -1
            at += 1 + ((p[at] >> 2) & 3)
            groups -= 1
    return at


cdef int parse_vp9(const uint8_t* p, int size, PayloadFacts* f) noexcept nogil:
    cdef int head = p[0]
    cdef int at = 1
    cdef int references = 0
    cdef bint dependent = False
    if head & 0x80:
        at = read_picture(p, size, at, f)
        if at < 0:
            return -1
    if head & 0x20:
        if at >= size:
            return -1
        f.temporal = p[at] >> 5
        f.sync = (p[at] >> 4) & 1
        f.spatial = (p[at] >> 1) & 7
        dependent = p[at] & 1
        at += 1
        if not head & 0x10:
            if at >= size:
                return -1
            f.tl0_at = <uint8_t>at
            f.tl0 = p[at]
            at += 1
    if (head & 0x50) == 0x50:                      # inter-predicted in flexible mode: up to three reference indices
        while True:
            if at >= size or references == 3:
                return -1
            references += 1
            at += 1
            if not p[at - 1] & 1:
                break
    if head & 0x02:
        at = skip_vp9_structure(p, size, at)
    if at < 0 or at >= size:
        return -1
    f.start = (head & 0x08) != 0
    f.key = f.start and not head & 0x40 and f.spatial == 0 and not dependent
    f.discardable = head & 0x01                    # Z: not a reference for upper spatial layers
    if f.temporal == 0:
        f.sync = 1
    return 0


cdef int parse_h264_bundle(const uint8_t* p, int size, PayloadFacts* f) noexcept nogil:
    """STAP-A: 16-bit sizes, each with a NAL unit of at least one octet."""
    cdef int at = 1
    cdef int length
    f.discardable = 1
    while at < size:
        if at + 2 > size:
            return -1
        length = (p[at] << 8) | p[at + 1]
        at += 2
        if length == 0 or at + length > size:
            return -1
        if p[at] & 0x1F == H264_NAL_SPS or p[at] & 0x1F == H264_NAL_IDR:
            f.key = 1
        if p[at] & 0x60:
            f.discardable = 0
        at += length
    return 0 if at > 1 else -1


cdef int parse_h264(const uint8_t* p, int size, PayloadFacts* f) noexcept nogil:
    cdef int kind = p[0] & 0x1F
    if p[0] & 0x80:                                # forbidden_zero_bit
        return -1
    f.discardable = not p[0] & 0x60
    f.sync = 1
    if 1 <= kind <= H264_NAL_SINGLE_MAX:
        f.key = kind == H264_NAL_SPS or kind == H264_NAL_IDR
        return 0
    if kind == H264_STAP_A:
        return parse_h264_bundle(p, size, f)
    if kind == H264_FU_A:
        if size < 3 or (p[1] & 0xC0) == 0xC0:      # start and end in one fragment is not allowed (§5.8)
            return -1
        f.key = p[1] & 0x80 and (p[1] & 0x1F == H264_NAL_IDR or p[1] & 0x1F == H264_NAL_SPS)
        return 0
    return -1


cdef int parse_av1(const uint8_t* p, int size, PayloadFacts* f) noexcept nogil:
    cdef int head = p[0]
    cdef int elements = (head >> 4) & 3            # W; 0: every element has a length
    cdef int at = 1
    cdef int count = 0
    cdef int length
    cdef int shift
    if size < 2 or (head & 0x88) == 0x88:          # a new coded sequence (N) cannot begin with a continuation (Z)
        return -1
    while at < size:
        count += 1
        if elements and count == elements:
            at = size
            break
        length = 0
        shift = 0
        while True:
            if at >= size or shift == 7 * AV1_LEB128_BYTES_MAX:
                return -1
            if shift < 28:
                length |= (p[at] & 0x7F) << shift
            elif p[at] & 0x7F:
                return -1                          # longer than any packet
            shift += 7
            at += 1
            if not p[at - 1] & 0x80:
                break
        if length > size - at:
            return -1
        at += length
    if elements and count != elements:
        return -1
    f.key = (head >> 3) & 1
    f.start = f.key
    f.sync = 1
    return 0


cdef int payload_parse(int codec, const uint8_t* payload, int size, PayloadFacts* facts) noexcept nogil:
    memset(facts, 0, sizeof(PayloadFacts))
    if codec == VIDEO_VP8:
        return parse_vp8(payload, size, facts)
    if codec == VIDEO_H264:
        return parse_h264(payload, size, facts)
    if codec == VIDEO_VP9:
        return parse_vp9(payload, size, facts)
    if codec == VIDEO_AV1:
        return parse_av1(payload, size, facts)
    return -1


cdef void payload_patch(uint8_t* payload, const PayloadFacts* facts, int picture, int tl0) noexcept nogil:
    if facts.picture_bits == 15:
        payload[facts.picture_at] = <uint8_t>(0x80 | ((picture >> 8) & 0x7F))
        payload[facts.picture_at + 1] = <uint8_t>picture
    elif facts.picture_bits == 7:
        payload[facts.picture_at] = <uint8_t>(picture & 0x7F)
    if facts.tl0_at:
        payload[facts.tl0_at] = <uint8_t>tl0


def parse_for_test(int codec, bytes payload) -> dict[str, int] | None:
    """PayloadFacts by name, or None when malformed. codec: 1 VP8, 2 H.264, 3 VP9, 4 AV1."""
    cdef PayloadFacts facts
    if not payload or payload_parse(codec, <const uint8_t*>payload, len(payload), &facts) < 0:
        return None
    return facts


def patch_for_test(int codec, bytes payload, int picture, int tl0) -> bytes:
    cdef PayloadFacts facts
    cdef uint8_t room[2048]
    if len(payload) > 2048 or payload_parse(codec, <const uint8_t*>payload, len(payload), &facts) < 0:
        raise ValueError("malformed")
    memcpy(room, <const uint8_t*>payload, len(payload))
    payload_patch(room, &facts, picture, tl0)
    return (<char*>room)[:len(payload)]
