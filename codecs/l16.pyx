"""L16: linear PCM, big-endian on the wire (RFC 3551 4.5.11). Owns the byte order and nothing else."""


cdef void l16_encode(const int16_t* pcm, int samples, uint8_t* out) noexcept nogil:
    cdef int i
    cdef uint16_t word
    for i in range(samples):
        word = <uint16_t>pcm[i]
        out[2 * i] = <uint8_t>(word >> 8)
        out[2 * i + 1] = <uint8_t>(word & 0xFF)


cdef void l16_decode(const uint8_t* payload, int samples, int16_t* out) noexcept nogil:
    cdef int i
    for i in range(samples):
        out[i] = <int16_t>((<uint16_t>payload[2 * i] << 8) | payload[2 * i + 1])
