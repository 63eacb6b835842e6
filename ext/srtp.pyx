"""SRTP and SRTCP by libsrtp2 (RFC 3711, 6188, 7714): protects and unprotects packets in place.

Owns one libsrtp session per direction; keys come from SDES or DTLS, it does not ask which. Rollover counters and the
replay window live in the session, so a session survives a renegotiation that does not change the key.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from "srtp2/srtp.h" nogil:
    ctypedef struct srtp_ctx_t:
        pass
    ctypedef srtp_ctx_t* srtp_t
    ctypedef struct srtp_crypto_policy_t:
        pass
    ctypedef enum srtp_ssrc_type_t:
        ssrc_any_inbound
        ssrc_any_outbound
    ctypedef struct srtp_ssrc_t:
        srtp_ssrc_type_t type
        unsigned int value
    ctypedef struct srtp_policy_t:
        srtp_ssrc_t ssrc
        srtp_crypto_policy_t rtp
        srtp_crypto_policy_t rtcp
        unsigned char* key
        unsigned long window_size
        int allow_repeat_tx
        srtp_policy_t* next
    int srtp_init()
    int srtp_create(srtp_t* session, const srtp_policy_t* policy)
    int srtp_dealloc(srtp_t session)
    int srtp_protect(srtp_t session, void* data, int* size)
    int srtp_unprotect(srtp_t session, void* data, int* size)
    int srtp_protect_rtcp(srtp_t session, void* data, int* size)
    int srtp_unprotect_rtcp(srtp_t session, void* data, int* size)
    int srtp_get_stream_roc(srtp_t session, uint32_t ssrc, uint32_t* roc)
    void srtp_crypto_policy_set_rtp_default(srtp_crypto_policy_t* p)
    void srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(srtp_crypto_policy_t* p)
    void srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(srtp_crypto_policy_t* p)
    void srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(srtp_crypto_policy_t* p)
    void srtp_crypto_policy_set_aes_gcm_128_16_auth(srtp_crypto_policy_t* p)
    void srtp_crypto_policy_set_aes_gcm_256_16_auth(srtp_crypto_policy_t* p)
    int srtp_err_status_replay_fail
    int srtp_err_status_replay_old

cdef enum:
    REPLAY_WINDOW_PACKETS = 1024      # 20 s of audio: more than any network reorders
    KEY_BYTES_MAX = 46

cdef struct SrtpSession:
    srtp_t context
    int32_t outbound
    uint32_t last_ssrc
    int32_t ssrc_seen
    uint8_t key[KEY_BYTES_MAX]

cdef int SUITE_KEY_BYTES[6]
SUITE_KEY_BYTES[:] = [30, 30, 46, 46, 28, 44]

if srtp_init() != 0:
    raise ImportError("libsrtp2 failed its self-test at start; reinstall the package libsrtp2")


cdef SrtpSession* srtp_session_new(int suite, const uint8_t* key_and_salt, int size, bint outbound) noexcept nogil:
    cdef srtp_policy_t policy
    cdef SrtpSession* s
    if not 0 <= suite < 6 or size != SUITE_KEY_BYTES[suite]:
        return NULL
    s = <SrtpSession*>calloc(1, sizeof(SrtpSession))
    if s is NULL:
        return NULL
    memset(&policy, 0, sizeof(policy))
    memcpy(s.key, key_and_salt, size)
    srtp_crypto_policy_set_rtp_default(&policy.rtp)
    srtp_crypto_policy_set_rtp_default(&policy.rtcp)      # 80-bit tags with the _32 suites too, RFC 4568 §6.2.2
    if suite == SUITE_AES_CM_128_SHA1_32:
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&policy.rtp)
    elif suite == SUITE_AES_256_CM_SHA1_80 or suite == SUITE_AES_256_CM_SHA1_32:
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&policy.rtp)
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&policy.rtcp)
        if suite == SUITE_AES_256_CM_SHA1_32:
            srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(&policy.rtp)
    elif suite == SUITE_AEAD_AES_128_GCM:
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp)
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp)
    elif suite == SUITE_AEAD_AES_256_GCM:
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp)
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp)
    policy.ssrc.type = ssrc_any_outbound if outbound else ssrc_any_inbound
    policy.key = s.key
    policy.window_size = REPLAY_WINDOW_PACKETS
    policy.allow_repeat_tx = 0
    policy.next = NULL
    s.outbound = outbound
    if srtp_create(&s.context, &policy) != 0:
        memset(s, 0, sizeof(SrtpSession))
        free(s)
        return NULL
    return s


cdef void srtp_session_free(SrtpSession* s) noexcept nogil:
    if s is not NULL:
        srtp_dealloc(s.context)
        memset(s, 0, sizeof(SrtpSession))
        free(s)


cdef inline SrtpVerdict verdict_of(int status) noexcept nogil:
    if status == 0:
        return SRTP_OK
    if status == srtp_err_status_replay_fail or status == srtp_err_status_replay_old:
        return SRTP_REPLAYED
    return SRTP_FAILED


cdef bint refused_ssrc(SrtpSession* s, const uint8_t* at) noexcept nogil:
    """libsrtp makes a stream for each inbound SSRC that authenticates: an honest peer has few of them."""
    cdef uint32_t ssrc
    cdef uint32_t roc
    memcpy(&ssrc, at, 4)
    if s.ssrc_seen and ssrc == s.last_ssrc:
        return False
    if s.ssrc_seen >= SRTP_SSRC_CHANGES_MAX:
        ssrc = (at[0] << 24) | (at[1] << 16) | (at[2] << 8) | at[3]
        return srtp_get_stream_roc(s.context, ssrc, &roc) != 0
    return False


cdef void note_ssrc(SrtpSession* s, const uint8_t* at) noexcept nogil:
    cdef uint32_t ssrc
    memcpy(&ssrc, at, 4)
    if not s.ssrc_seen or ssrc != s.last_ssrc:
        s.last_ssrc = ssrc
        s.ssrc_seen += 1


cdef SrtpVerdict srtp_protect_rtp(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    return verdict_of(srtp_protect(s.context, data, size))


cdef SrtpVerdict srtp_unprotect_rtp(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    cdef int status
    if size[0] < 12:
        return SRTP_FAILED
    if refused_ssrc(s, data + 8):
        return SRTP_REFUSED
    status = srtp_unprotect(s.context, data, size)
    if status == 0:
        note_ssrc(s, data + 8)
    return verdict_of(status)


cdef SrtpVerdict srtp_protect_control(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    return verdict_of(srtp_protect_rtcp(s.context, data, size))


cdef SrtpVerdict srtp_unprotect_control(SrtpSession* s, uint8_t* data, int* size) noexcept nogil:
    cdef int status
    if size[0] < 8:
        return SRTP_FAILED
    if refused_ssrc(s, data + 4):
        return SRTP_REFUSED
    status = srtp_unprotect_rtcp(s.context, data, size)
    if status == 0:
        note_ssrc(s, data + 4)
    return verdict_of(status)


cdef class SessionForTest:
    """One direction of one key. suite: index of the profile in model.SrtpProfile. Raises ValueError for a wrong key."""

    cdef SrtpSession* session

    def __cinit__(self, int suite, bytes key_and_salt, bint outbound):
        self.session = srtp_session_new(suite, <const uint8_t*>PyBytes_AS_STRING(key_and_salt), len(key_and_salt),
                                        outbound)
        if self.session is NULL:
            raise ValueError(f"suite {suite} does not take a key of {len(key_and_salt)} bytes")

    def __dealloc__(self):
        srtp_session_free(self.session)

    def step(self, bytes data, bint control) -> tuple[int, bytes]:
        """Protects (outbound) or unprotects one packet: (verdict, result)."""
        cdef uint8_t room[2048]
        cdef int size = len(data)
        cdef SrtpVerdict verdict
        if size > 1900:
            raise ValueError("at most 1900 bytes")
        memcpy(room, <const uint8_t*>data, size)
        if self.session.outbound:
            verdict = (srtp_protect_control if control else srtp_protect_rtp)(self.session, room, &size)
        else:
            verdict = (srtp_unprotect_control if control else srtp_unprotect_rtp)(self.session, room, &size)
        return <int>verdict, <bytes>(<char*>room)[:size]
