# L16 (RFC 3551 4.5.11): 16-bit linear PCM in network byte order, mono. Stateless.
from libc.stdint cimport int16_t, uint8_t, uint16_t

# pcm[samples] -> out[2 * samples]
cdef void l16_encode(const int16_t* pcm, int samples, uint8_t* out) noexcept nogil
# payload[2 * samples] -> out[samples]
cdef void l16_decode(const uint8_t* payload, int samples, int16_t* out) noexcept nogil
