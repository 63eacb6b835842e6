"""ITU-T G.711 companding, mu-law (PCMU) and A-law (PCMA), by tables.

Owns the byte <-> sample mapping and nothing else: there is no state and no frame. The tables are derived from the
segment structure of the Recommendation (tables 1a/1b and 2a/2b) at import. The two lowest bits of a 16-bit sample never
change a mu-law word, the four lowest never an A-law word: that keeps the encoding tables at 16 and 4 KiB.
"""

cdef uint8_t MU_OF_LINEAR[16384]     # index: (uint16)sample >> 2
cdef uint8_t A_OF_LINEAR[4096]       # index: (uint16)sample >> 4
cdef int16_t LINEAR_OF_MU[256]
cdef int16_t LINEAR_OF_A[256]


cdef int mu_word(int value) noexcept:
    """value: 14-bit two's complement. Segment n starts at 33 * 2^n - 33 (G.711 table 2a)."""
    cdef int negative = value < 0
    cdef int biased = min((-value - 1 if negative else value) + 33, 0x1FFF)
    cdef int segment = 0
    while (biased >> (segment + 6)) != 0:
        segment += 1
    # Every bit is inverted on the line; the sign bit there is 1 for positive values.
    return ((negative << 7) | (segment << 4) | ((biased >> (segment + 1)) & 15)) ^ 0xFF


cdef int a_word(int value) noexcept:
    """value: 12-bit two's complement. Segments 0 and 1 share the smallest step (G.711 table 1a)."""
    cdef int negative = value < 0
    cdef int magnitude = -value - 1 if negative else value
    cdef int segment = 0
    while (magnitude >> (segment + 4)) != 0:
        segment += 1
    cdef int step = (magnitude >> (segment - 1 if segment > 1 else 0)) & 15
    # Even bits are inverted on the line; the sign bit there is 1 for positive values.
    return ((0 if negative else 0x80) | (segment << 4) | step) ^ 0x55


cdef int mu_value(int word) noexcept:
    """The middle of the word's interval, 16-bit scale (G.711 table 2a, column 8)."""
    cdef int inverted = word ^ 0xFF
    cdef int segment = (inverted >> 4) & 7
    cdef int magnitude = (((inverted & 15) * 2 + 33) << segment) - 33
    return (-magnitude if inverted & 0x80 else magnitude) * 4


cdef int a_value(int word) noexcept:
    """The middle of the word's interval, 16-bit scale (G.711 table 1a, column 8)."""
    cdef int bits = word ^ 0x55
    cdef int segment = (bits >> 4) & 7
    cdef int doubled = (bits & 15) * 2 + 1
    if segment > 0:
        doubled = (doubled + 32) << (segment - 1)
    return (doubled if bits & 0x80 else -doubled) * 8


cdef void fill_tables() noexcept:
    cdef int i
    for i in range(16384):
        MU_OF_LINEAR[i] = <uint8_t>mu_word(i - 16384 if i >= 8192 else i)
    for i in range(4096):
        A_OF_LINEAR[i] = <uint8_t>a_word(i - 4096 if i >= 2048 else i)
    for i in range(256):
        LINEAR_OF_MU[i] = <int16_t>mu_value(i)
        LINEAR_OF_A[i] = <int16_t>a_value(i)


cdef void g711_encode_mu(const int16_t* pcm, int samples, uint8_t* out) noexcept nogil:
    cdef int i
    for i in range(samples):
        out[i] = MU_OF_LINEAR[(<uint16_t>pcm[i]) >> 2]


cdef void g711_encode_a(const int16_t* pcm, int samples, uint8_t* out) noexcept nogil:
    cdef int i
    for i in range(samples):
        out[i] = A_OF_LINEAR[(<uint16_t>pcm[i]) >> 4]


cdef void g711_decode_mu(const uint8_t* payload, int samples, int16_t* out) noexcept nogil:
    cdef int i
    for i in range(samples):
        out[i] = LINEAR_OF_MU[payload[i]]


cdef void g711_decode_a(const uint8_t* payload, int samples, int16_t* out) noexcept nogil:
    cdef int i
    for i in range(samples):
        out[i] = LINEAR_OF_A[payload[i]]


fill_tables()
