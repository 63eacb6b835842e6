# ITU-T G.711: one byte per sample both ways. Stateless; the tables are filled at import.
from libc.stdint cimport int16_t, uint8_t, uint16_t

# pcm[samples] -> out[samples]
cdef void g711_encode_mu(const int16_t* pcm, int samples, uint8_t* out) noexcept nogil
cdef void g711_encode_a(const int16_t* pcm, int samples, uint8_t* out) noexcept nogil
# payload[samples] -> out[samples]
cdef void g711_decode_mu(const uint8_t* payload, int samples, int16_t* out) noexcept nogil
cdef void g711_decode_a(const uint8_t* payload, int samples, int16_t* out) noexcept nogil
