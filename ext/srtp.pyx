"""SRTP and SRTCP (RFC 3711, 6188, 7714): protects and unprotects packets in place.

Owns rollover counters and replay windows of one direction of one key; keys come from SDES or DTLS, it does not ask
which. A session survives a renegotiation that does not change the key. A place in its table takes only a source whose
packet was authentic, and one that gave its place up comes back with its counters. There is no MKI. The arithmetic is in
ext/srtp_cipher.

GCM gives its authentication key away when two different packets have one IV (RFC 7714 §8.1). A packet with header
extensions, which may tell the time of sending, is therefore sealed once only under GCM; one without is the same bytes.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from mediaserver.ext.rtp cimport read_be16, read_be32, write_be32
from mediaserver.ext.srtp_cipher cimport (
    GCM_SALT_BYTES,
    GCM_TAG_BYTES,
    SALT_BYTES,
    SHA1_BYTES,
    Cipher,
    cipher_free,
    cipher_new,
    counter_mode,
    gcm_open,
    gcm_seal,
    hmac_sha1,
    tags_equal,
)

cdef enum:
    WINDOW_BITS = 1024                 # packets of one source: 20 s of audio, 5 s of good video; none reorders more
    WINDOW_WORDS = 16
    SOURCE_IDLE_PACKETS = 65536        # a full table gives up a source unheard for so long: minutes of a call
    RETIRED_MAX = 256                  # whose counters are kept for when they come back. A power of two
    CONTROL_TAG_BYTES = 10             # of RTCP in the _32 suites too, RFC 4568 §6.2.2
    CONTROL_INDEX_BYTES = 4
    RTP_HEADER = 12
    RTCP_HEADER = 8
    LABEL_RTP = 0
    LABEL_RTCP = 3
    CONTROL_INDEX_MAX = 0x7FFFFFFF
    ENCRYPTED = 0x80000000             # the E bit before SRTCP's index

cdef struct Kind:                      # RTP or RTCP
    Cipher* cipher
    uint8_t salt[SALT_BYTES]

cdef struct Window:
    int64_t highest                    # index; -1: nothing yet
    uint64_t seen[WINDOW_WORDS]        # of the WINDOW_BITS up to highest, at their index modulo WINDOW_BITS

cdef struct Source:
    uint32_t ssrc
    uint32_t control_index             # outbound: of the last SRTCP packet
    int64_t highest                    # outbound: index of the highest RTP packet; -1: none
    uint64_t used                      # session.packets when it was heard last

cdef struct Retired:                   # what must not begin anew while the key is the same
    uint32_t ssrc
    int32_t known
    Source source
    int64_t heard                      # inbound: highest RTP and RTCP indexes
    int64_t told

cdef struct SrtpSession:
    int32_t outbound
    int32_t gcm
    int32_t tag_bytes
    int32_t source_count
    int32_t last                       # source of the last packet
    uint64_t packets
    Kind rtp
    Kind rtcp
    uint32_t ssrcs[SRTP_SOURCES_MAX]   # beside each other, so that a search reads few lines of memory
    Source sources[SRTP_SOURCES_MAX]
    uint32_t retired_count             # ever
    Retired retired[RETIRED_MAX]
    Window* windows                    # two of each source, RTP and RTCP; outbound only for GCM

cdef int SUITE_KEY_BYTES[6]
SUITE_KEY_BYTES[:] = [16, 16, 32, 32, 16, 32]


cdef SrtpSession* srtp_session_new(int suite, const uint8_t* key_and_salt, int size, bint outbound) noexcept nogil:
    cdef SrtpSession* s
    cdef uint8_t salt[SALT_BYTES]
    cdef bint gcm = suite >= SUITE_AEAD_AES_128_GCM
    cdef int key_bytes
    cdef int salt_bytes = GCM_SALT_BYTES if gcm else SALT_BYTES
    if not 0 <= suite < 6 or size != SUITE_KEY_BYTES[suite] + salt_bytes:
        return NULL
    key_bytes = SUITE_KEY_BYTES[suite]
    s = <SrtpSession*>calloc(1, sizeof(SrtpSession))
    if s is NULL:
        return NULL
    memset(salt, 0, SALT_BYTES)
    memcpy(salt, key_and_salt + key_bytes, salt_bytes)
    s.outbound = outbound
    s.gcm = gcm
    s.tag_bytes = 4 if suite in (SUITE_AES_CM_128_SHA1_32, SUITE_AES_256_CM_SHA1_32) else 10
    if not outbound or gcm:
        s.windows = <Window*>calloc(2 * SRTP_SOURCES_MAX, sizeof(Window))
    s.rtp.cipher = cipher_new(key_and_salt, key_bytes, salt, LABEL_RTP, gcm, outbound, s.rtp.salt)
    s.rtcp.cipher = cipher_new(key_and_salt, key_bytes, salt, LABEL_RTCP, gcm, outbound, s.rtcp.salt)
    if ((not outbound or gcm) and s.windows is NULL
            or s.rtp.cipher is NULL or s.rtcp.cipher is NULL):
        srtp_session_free(s)
        return NULL
    return s


cdef void srtp_session_free(SrtpSession* s) noexcept nogil:
    if s is not NULL:
        cipher_free(s.rtp.cipher)
        cipher_free(s.rtcp.cipher)
        free(s.windows)
        free(s)


# --- sources, indexes and replay

cdef inline int source_find(SrtpSession* s, uint32_t ssrc) noexcept nogil:
    """Its place, or -1."""
    cdef int i
    if s.last < s.source_count and s.ssrcs[s.last] == ssrc:
        return s.last
    for i in range(s.source_count):
        if s.ssrcs[i] == ssrc:
            s.last = i
            return i
    return -1


cdef int source_idle(const SrtpSession* s) noexcept nogil:
    """The place of one that may be given up, or -1."""
    cdef int oldest = 0
    cdef int i
    for i in range(1, s.source_count):
        if s.sources[i].used < s.sources[oldest].used:
            oldest = i
    return oldest if s.packets - s.sources[oldest].used >= SOURCE_IDLE_PACKETS else -1


cdef inline bint has_room(const SrtpSession* s) noexcept nogil:
    return s.source_count < SRTP_SOURCES_MAX or source_idle(s) >= 0


cdef Retired* retired_find(SrtpSession* s, uint32_t ssrc) noexcept nogil:
    """NULL: it never gave up a place, or too long ago."""
    cdef uint32_t i
    for i in range(s.retired_count if s.retired_count < RETIRED_MAX else RETIRED_MAX):
        if s.retired[i].known and s.retired[i].ssrc == ssrc:
            return &s.retired[i]
    return NULL


cdef void retire(SrtpSession* s, int at) noexcept nogil:
    cdef Retired* r = &s.retired[s.retired_count & (RETIRED_MAX - 1)]
    s.retired_count += 1
    r.ssrc = s.ssrcs[at]
    r.known = 1
    r.source = s.sources[at]
    if s.windows is not NULL:
        r.heard = s.windows[2 * at].highest
        r.told = s.windows[2 * at + 1].highest


cdef inline void window_set(Window* w, int64_t highest) noexcept nogil:
    """highest -1: nothing seen yet; else all up to it."""
    memset(w.seen, 0xFF if highest >= 0 else 0, sizeof(w.seen))
    w.highest = highest


cdef int source_add(SrtpSession* s, uint32_t ssrc) noexcept nogil:
    """A place for a new one, which has_room; counters at the start, or where they were when it gave its place up."""
    cdef int at = s.source_count
    cdef Retired* former = retired_find(s, ssrc)
    cdef Source source
    cdef int64_t heard = -1
    cdef int64_t told = -1
    memset(&source, 0, sizeof(Source))
    source.highest = -1
    if former is not NULL:
        source = former.source
        heard = former.heard
        told = former.told
        former.known = 0
    if at < SRTP_SOURCES_MAX:
        s.source_count += 1
    else:
        at = source_idle(s)
        retire(s, at)
    s.ssrcs[at] = ssrc
    s.sources[at] = source
    if s.windows is not NULL:
        window_set(&s.windows[2 * at], heard)
        window_set(&s.windows[2 * at + 1], told)
    s.last = at
    return at


cdef inline int64_t index_of(int64_t highest, int sequence) noexcept nogil:
    """RFC 3711 §3.3.1: the index nearest to the highest so far that ends in this sequence number. Below 0: none."""
    cdef int64_t index
    if highest < 0:
        return sequence
    index = (highest & ~<int64_t>0xFFFF) | sequence
    if index > highest + 0x8000:
        return index - 0x10000
    if index < highest - 0x8000:
        return index + 0x10000
    return index


cdef inline bint seen_before(const Window* w, int64_t index) noexcept nogil:
    """Or too old to tell."""
    if index > w.highest:
        return False
    if w.highest - index >= WINDOW_BITS:
        return True
    return w.seen[(index & (WINDOW_BITS - 1)) >> 6] >> (index & 63) & 1


cdef void mark_seen(Window* w, int64_t index) noexcept nogil:
    cdef int64_t skipped
    if index - w.highest >= WINDOW_BITS or w.highest < 0:
        memset(w.seen, 0, sizeof(w.seen))
    else:
        for skipped in range(w.highest + 1, index):
            w.seen[(skipped & (WINDOW_BITS - 1)) >> 6] &= ~(<uint64_t>1 << (skipped & 63))
    if index > w.highest:
        w.highest = index
    w.seen[(index & (WINDOW_BITS - 1)) >> 6] |= <uint64_t>1 << (index & 63)


cdef inline void iv_of(const SrtpSession* s, const Kind* k, const uint8_t* ssrc, uint64_t index,
                       uint8_t* iv) noexcept nogil:
    """Counter mode, RFC 3711 §4.1.1: salt xor SSRC at byte 4 xor index at byte 8, then the block counter. GCM, RFC 7714
    §8.1 and §9.1: two zero bytes, SSRC, index of 48 or 32 bits, all xor salt."""
    cdef int ssrc_at = 2 if s.gcm else 4
    cdef int i
    memcpy(iv, k.salt, SALT_BYTES)
    iv[14] = 0
    iv[15] = 0
    for i in range(4):
        iv[ssrc_at + i] ^= ssrc[i]
    for i in range(6):                 # an SRTCP index has 31 bits: the first two bytes stay
        iv[ssrc_at + 4 + i] ^= <uint8_t>(index >> (40 - 8 * i))


cdef inline int header_size_of(const uint8_t* data, int size) noexcept nogil:
    """RTP header with CSRCs and extension, which stay in the clear; -1: malformed."""
    cdef int header
    if size < RTP_HEADER or data[0] >> 6 != 2:
        return -1
    header = RTP_HEADER + 4 * (data[0] & 15)
    if data[0] & 0x10:
        if header + 4 > size:
            return -1
        header += 4 + 4 * read_be16(data + header + 2)
    return header if header <= size else -1


# --- RTP

cdef SrtpVerdict srtp_protect_rtp(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    cdef int header = header_size_of(data, size[0])
    cdef uint8_t iv[16]
    cdef uint8_t roc[4]
    cdef uint8_t digest[SHA1_BYTES]
    cdef int64_t index
    cdef int at
    if header < 0:
        return SRTP_FAILED
    at = source_find(s, read_be32(data + 8))
    if at < 0:
        if not has_room(s):
            return SRTP_REFUSED
        at = source_add(s, read_be32(data + 8))
    index = index_of(s.sources[at].highest, read_be16(data + 2))
    if index < 0 or (s.gcm and data[0] & 0x10 and seen_before(&s.windows[2 * at], index)):
        return SRTP_REPLAYED
    iv_of(s, &s.rtp, data + 8, <uint64_t>index, iv)
    if s.gcm:
        if gcm_seal(s.rtp.cipher, iv, data, header, NULL, 0, data + header, size[0] - header) < 0:
            return SRTP_FAILED
        size[0] += GCM_TAG_BYTES
        if s.windows[2 * at].highest - index < WINDOW_BITS:
            mark_seen(&s.windows[2 * at], index)
    else:
        if counter_mode(s.rtp.cipher, iv, data + header, size[0] - header) < 0:
            return SRTP_FAILED
        write_be32(roc, <uint32_t>(index >> 16))
        hmac_sha1(s.rtp.cipher, data, size[0], roc, 4, digest)
        memcpy(data + size[0], digest, s.tag_bytes)
        size[0] += s.tag_bytes
    s.packets += 1
    s.sources[at].used = s.packets
    if index > s.sources[at].highest:
        s.sources[at].highest = index
    return SRTP_OK


cdef inline int open_rtp(SrtpSession* s, uint8_t* data, int header, int body, uint64_t index) noexcept nogil:
    """0, or -1: not authentic. body: bytes behind the header, before the tag."""
    cdef uint8_t iv[16]
    cdef uint8_t roc[4]
    cdef uint8_t digest[SHA1_BYTES]
    iv_of(s, &s.rtp, data + 8, index, iv)
    if s.gcm:
        return gcm_open(s.rtp.cipher, iv, data, header, NULL, 0, data + header, body, data + header + body)
    write_be32(roc, <uint32_t>(index >> 16))
    hmac_sha1(s.rtp.cipher, data, header + body, roc, 4, digest)
    if not tags_equal(digest, data + header + body, s.tag_bytes):
        return -1
    return counter_mode(s.rtp.cipher, iv, data + header, body)


cdef SrtpVerdict srtp_unprotect_rtp(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    cdef int tag = GCM_TAG_BYTES if s.gcm else s.tag_bytes
    cdef int header = header_size_of(data, size[0] - tag)
    cdef const Retired* former
    cdef uint32_t ssrc
    cdef int64_t highest
    cdef int64_t index
    cdef int at
    if header < 0:
        return SRTP_FAILED
    ssrc = read_be32(data + 8)
    at = source_find(s, ssrc)
    if at < 0 and not has_room(s):
        return SRTP_REFUSED
    if at >= 0:
        highest = s.windows[2 * at].highest
    else:
        former = retired_find(s, ssrc)
        highest = former.heard if former is not NULL else -1
    index = index_of(highest, read_be16(data + 2))
    if index < 0 or (seen_before(&s.windows[2 * at], index) if at >= 0 else index <= highest):
        return SRTP_REPLAYED
    if open_rtp(s, data, header, size[0] - tag - header, <uint64_t>index) < 0:
        return SRTP_FAILED
    if at < 0:                         # only what is authentic takes a place
        at = source_add(s, ssrc)
    s.packets += 1
    s.sources[at].used = s.packets
    mark_seen(&s.windows[2 * at], index)
    size[0] -= tag
    return SRTP_OK


# --- RTCP: header, body, [tag of GCM], E and index, [tag of HMAC]

cdef SrtpVerdict srtp_protect_control(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    cdef uint8_t iv[16]
    cdef uint8_t trailer[CONTROL_INDEX_BYTES]
    cdef uint8_t digest[SHA1_BYTES]
    cdef uint32_t index
    cdef int at
    if size[0] < RTCP_HEADER:
        return SRTP_FAILED
    at = source_find(s, read_be32(data + 4))
    if at < 0:
        if not has_room(s):
            return SRTP_REFUSED
        at = source_add(s, read_be32(data + 4))
    index = s.sources[at].control_index + 1
    if index > CONTROL_INDEX_MAX:      # RFC 3711 §9.2: this key is used up
        return SRTP_FAILED
    write_be32(trailer, <uint32_t>ENCRYPTED | index)
    iv_of(s, &s.rtcp, data + 4, index, iv)
    if s.gcm:
        if gcm_seal(s.rtcp.cipher, iv, data, RTCP_HEADER, trailer, CONTROL_INDEX_BYTES, data + RTCP_HEADER,
                    size[0] - RTCP_HEADER) < 0:
            return SRTP_FAILED
        size[0] += GCM_TAG_BYTES
        memcpy(data + size[0], trailer, CONTROL_INDEX_BYTES)
        size[0] += CONTROL_INDEX_BYTES
    else:
        if counter_mode(s.rtcp.cipher, iv, data + RTCP_HEADER, size[0] - RTCP_HEADER) < 0:
            return SRTP_FAILED
        memcpy(data + size[0], trailer, CONTROL_INDEX_BYTES)
        size[0] += CONTROL_INDEX_BYTES
        hmac_sha1(s.rtcp.cipher, data, size[0], NULL, 0, digest)
        memcpy(data + size[0], digest, CONTROL_TAG_BYTES)
        size[0] += CONTROL_TAG_BYTES
    s.packets += 1
    s.sources[at].used = s.packets
    s.sources[at].control_index = index
    return SRTP_OK


cdef inline int open_control(SrtpSession* s, uint8_t* data, int body, const uint8_t* trailer, uint32_t index,
                             bint encrypted) noexcept nogil:
    """0, or -1: not authentic. body: bytes behind the header, before GCM's tag or the trailer."""
    cdef uint8_t iv[16]
    cdef uint8_t digest[SHA1_BYTES]
    cdef uint8_t* at = data + RTCP_HEADER
    iv_of(s, &s.rtcp, data + 4, index, iv)
    if s.gcm:
        if encrypted:
            return gcm_open(s.rtcp.cipher, iv, data, RTCP_HEADER, trailer, CONTROL_INDEX_BYTES, at, body, at + body)
        return gcm_open(s.rtcp.cipher, iv, data, RTCP_HEADER + body, trailer, CONTROL_INDEX_BYTES, at + body, 0,
                        at + body)
    hmac_sha1(s.rtcp.cipher, data, RTCP_HEADER + body + CONTROL_INDEX_BYTES, NULL, 0, digest)
    if not tags_equal(digest, trailer + CONTROL_INDEX_BYTES, CONTROL_TAG_BYTES):
        return -1
    return counter_mode(s.rtcp.cipher, iv, at, body) if encrypted else 0


cdef SrtpVerdict srtp_unprotect_control(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    cdef int behind = CONTROL_INDEX_BYTES + (GCM_TAG_BYTES if s.gcm else CONTROL_TAG_BYTES)
    cdef int body = size[0] - behind - RTCP_HEADER
    cdef uint8_t* trailer = data + size[0] - (CONTROL_INDEX_BYTES if s.gcm else behind)
    cdef const Retired* former
    cdef uint32_t ssrc
    cdef uint32_t word
    cdef int64_t index
    cdef int at
    if body < 0:
        return SRTP_FAILED
    ssrc = read_be32(data + 4)
    word = read_be32(trailer)
    index = word & CONTROL_INDEX_MAX
    at = source_find(s, ssrc)
    if at < 0 and not has_room(s):
        return SRTP_REFUSED
    former = retired_find(s, ssrc) if at < 0 else NULL
    if (former is not NULL and index <= former.told) or (at >= 0 and seen_before(&s.windows[2 * at + 1], index)):
        return SRTP_REPLAYED
    if open_control(s, data, body, trailer, <uint32_t>index, word & <uint32_t>ENCRYPTED != 0) < 0:
        return SRTP_FAILED
    if at < 0:
        at = source_add(s, ssrc)
    s.packets += 1
    s.sources[at].used = s.packets
    mark_seen(&s.windows[2 * at + 1], index)
    size[0] -= behind
    return SRTP_OK
