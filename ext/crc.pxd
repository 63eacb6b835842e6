# CRC-32 of IEEE 802.3 (zlib's), of the records of taps and the headers of segments.
from libc.stdint cimport int64_t, uint8_t, uint32_t

# As zlib.crc32.
cdef uint32_t crc32(const uint8_t* p, int64_t size) noexcept nogil
