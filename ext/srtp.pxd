# SRTP and SRTCP (RFC 3711, 6188, 7714) in place, one session per direction.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

cdef enum:
    SRTP_TRAILER_MAX = 32              # room a packet needs behind it: tag 16, SRTCP index 4, reserve
    SRTP_SOURCES_MAX = 128             # SSRCs of one key and direction: every sender of a room, and its retransmissions

cdef enum SrtpVerdict:
    SRTP_OK = 0
    SRTP_FAILED = 1                    # authentication failed, or malformed
    SRTP_REPLAYED = 2                  # seen before, or too old to tell
    SRTP_REFUSED = 3                   # one SSRC more than there is room for, and none of the others is idle

cdef struct SrtpSession               # opaque; owned by one leg and direction

cdef enum SrtpSuite:                   # in the order of model.SrtpProfile
    SUITE_AES_CM_128_SHA1_80 = 0
    SUITE_AES_CM_128_SHA1_32 = 1
    SUITE_AES_256_CM_SHA1_80 = 2
    SUITE_AES_256_CM_SHA1_32 = 3
    SUITE_AEAD_AES_128_GCM = 4
    SUITE_AEAD_AES_256_GCM = 5

# key: master key and salt, length as the suite says. NULL: no memory or not possible. Allocates: control path only.
cdef SrtpSession* srtp_session_new(int suite, const uint8_t* key_and_salt, int size, bint outbound) noexcept nogil
cdef void srtp_session_free(SrtpSession* s) noexcept nogil
# A sequence number may be protected again, but only with the same packet: a retransmission is the same bytes.
# data[*size] is rewritten, *size becomes the new length; behind it the caller gives SRTP_TRAILER_MAX bytes of room.
cdef SrtpVerdict srtp_protect_rtp(SrtpSession* s, uint8_t* data, int* size) noexcept nogil
cdef SrtpVerdict srtp_unprotect_rtp(SrtpSession* s, uint8_t* data, int* size) noexcept nogil
cdef SrtpVerdict srtp_protect_control(SrtpSession* s, uint8_t* data, int* size) noexcept nogil
cdef SrtpVerdict srtp_unprotect_control(SrtpSession* s, uint8_t* data, int* size) noexcept nogil
