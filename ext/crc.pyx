"""CRC-32 of IEEE 802.3, as zlib.crc32: by carry-less multiplication where the processor has it, else by tables.

The first folds sixteen bytes into the sixteen that follow, as "Fast CRC Computation for Generic Polynomials Using
PCLMULQDQ" (Gopal et al., Intel, 2009) describes; what is left has the message's remainder and goes through the tables.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <immintrin.h>
    static int ms_can_fold(void) { return __builtin_cpu_supports("pclmul"); }
    /* x^160 and x^96 modulo the polynomial, reflected: what 128 bits further on is worth. */
    __attribute__((target("pclmul,sse2")))
    static void ms_crc_fold(const uint8_t *p, int64_t blocks, uint32_t crc, uint8_t *left) {
        const __m128i k = _mm_set_epi64x(0x0ccaa009eLL, 0x1751997d0LL);
        __m128i x = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), _mm_cvtsi32_si128((int)crc));
        while (--blocks > 0) {
            p += 16;
            x = _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)),
                              _mm_loadu_si128((const __m128i *)p));
        }
        _mm_storeu_si128((__m128i *)left, x);
    }
    #else
    static int ms_can_fold(void) { return 0; }
    static void ms_crc_fold(const uint8_t *p, int64_t blocks, uint32_t crc, uint8_t *left) { }
    #endif
    """
    bint can_fold "ms_can_fold"()
    void crc_fold "ms_crc_fold"(const uint8_t* p, int64_t blocks, uint32_t crc, uint8_t* left) noexcept nogil

cdef enum:
    FOLDED_BYTES_MIN = 64              # below it the tables are as fast

cdef uint32_t CRC_TABLE[8][256]
cdef bint FOLDS = can_fold()


cdef void fill_crc_tables() noexcept:
    cdef uint32_t c
    cdef int i
    cdef int k
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ (<uint32_t>0xEDB88320 if c & 1 else 0)
        CRC_TABLE[0][i] = c
    for i in range(256):
        for k in range(1, 8):
            CRC_TABLE[k][i] = (CRC_TABLE[k - 1][i] >> 8) ^ CRC_TABLE[0][CRC_TABLE[k - 1][i] & 0xFF]

fill_crc_tables()


cdef uint32_t by_table(uint32_t c, const uint8_t* p, int64_t size) noexcept nogil:
    """Eight bytes at a time ("slicing by eight"). c and result: the register, not inverted."""
    cdef uint32_t high
    while size >= 8:
        c ^= p[0] | (<uint32_t>p[1] << 8) | (<uint32_t>p[2] << 16) | (<uint32_t>p[3] << 24)
        high = p[4] | (<uint32_t>p[5] << 8) | (<uint32_t>p[6] << 16) | (<uint32_t>p[7] << 24)
        c = (CRC_TABLE[7][c & 0xFF] ^ CRC_TABLE[6][(c >> 8) & 0xFF] ^ CRC_TABLE[5][(c >> 16) & 0xFF]
             ^ CRC_TABLE[4][c >> 24] ^ CRC_TABLE[3][high & 0xFF] ^ CRC_TABLE[2][(high >> 8) & 0xFF]
             ^ CRC_TABLE[1][(high >> 16) & 0xFF] ^ CRC_TABLE[0][high >> 24])
        p += 8
        size -= 8
    while size > 0:
        c = (c >> 8) ^ CRC_TABLE[0][(c ^ p[0]) & 0xFF]
        p += 1
        size -= 1
    return c


cdef uint32_t crc32(const uint8_t* p, int64_t size) noexcept nogil:
    cdef uint32_t c = <uint32_t>0xFFFFFFFF
    cdef uint8_t left[16]
    if FOLDS and size >= FOLDED_BYTES_MIN:
        crc_fold(p, size // 16, c, left)
        c = by_table(0, left, 16)
        p += size // 16 * 16
        size %= 16
    return ~by_table(c, p, size)


def crc32_of(bytes data) -> int:
    return crc32(<const uint8_t*>PyBytes_AS_STRING(data), len(data))


def crc32_by_table(bytes data) -> int:
    return <uint32_t>~by_table(<uint32_t>0xFFFFFFFF, <const uint8_t*>PyBytes_AS_STRING(data), len(data))
