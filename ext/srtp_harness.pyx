"""SRTP sessions for tests and benchmarks; none of it is in a packet's way."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from mediaserver.ext.net cimport monotonic_ns
from mediaserver.ext.srtp cimport (
    SrtpSession,
    SrtpVerdict,
    srtp_protect_control,
    srtp_protect_rtp,
    srtp_session_free,
    srtp_session_new,
    srtp_unprotect_control,
    srtp_unprotect_rtp,
)

from cpython.bytes cimport PyBytes_AS_STRING

cdef enum:
    SLOT_BYTES = 1600


cdef class SessionForTest:
    """One direction of one key. suite: index of the profile in model.SrtpProfile. Raises ValueError for a wrong key."""

    cdef SrtpSession* session
    cdef bint outbound

    def __cinit__(self, int suite, bytes key_and_salt, bint outbound):
        self.session = srtp_session_new(suite, <const uint8_t*>PyBytes_AS_STRING(key_and_salt), len(key_and_salt),
                                        outbound)
        self.outbound = outbound
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
        if self.outbound:
            verdict = (srtp_protect_control if control else srtp_protect_rtp)(self.session, room, &size)
        else:
            verdict = (srtp_unprotect_control if control else srtp_unprotect_rtp)(self.session, room, &size)
        return <int>verdict, <bytes>(<char*>room)[:size]


def stretch(int suite, bytes key_and_salt, int payload_bytes, int count) -> tuple[float, float]:
    """ns per packet to protect and to unprotect `count` packets lying in memory one behind the other."""
    cdef uint8_t* room
    cdef int* sizes
    cdef SrtpSession* out
    cdef SrtpSession* into
    cdef int64_t protect
    cdef int64_t unprotect
    cdef int failed = 0
    cdef int i
    if not 0 <= payload_bytes <= 1500 or not 0 < count <= 32768:
        raise ValueError("at most 1500 bytes of payload and 32768 packets")
    out = srtp_session_new(suite, <const uint8_t*>PyBytes_AS_STRING(key_and_salt), len(key_and_salt), True)
    into = srtp_session_new(suite, <const uint8_t*>PyBytes_AS_STRING(key_and_salt), len(key_and_salt), False)
    room = <uint8_t*>calloc(count, SLOT_BYTES)
    sizes = <int*>calloc(count, sizeof(int))
    if out is NULL or into is NULL or room is NULL or sizes is NULL:
        raise MemoryError
    for i in range(count):
        room[i * SLOT_BYTES] = 0x80
        room[i * SLOT_BYTES + 2] = <uint8_t>(i >> 8)
        room[i * SLOT_BYTES + 3] = <uint8_t>i
        room[i * SLOT_BYTES + 11] = 7
        sizes[i] = 12 + payload_bytes
    with nogil:
        protect = monotonic_ns()
        for i in range(count):
            failed |= srtp_protect_rtp(out, room + i * SLOT_BYTES, &sizes[i])
        protect = monotonic_ns() - protect
        unprotect = monotonic_ns()
        for i in range(count):
            failed |= srtp_unprotect_rtp(into, room + i * SLOT_BYTES, &sizes[i])
        unprotect = monotonic_ns() - unprotect
    free(room)
    free(sizes)
    srtp_session_free(out)
    srtp_session_free(into)
    if failed:
        raise ValueError("a packet was refused")
    return protect / <double>count, unprotect / <double>count
