# The Fourier transform of a real block, forth and back, in place.
cdef enum:
    SPECTRUM_MAX = 1024
    SPECTRUM_BINS_MAX = 513

# re[size // 2 + 1], im[size // 2 + 1] of data[size]; size: 256, 512 or 1024. data is used up.
cdef void spectrum_forward(float* data, float* re, float* im, int size) noexcept nogil
# data[size] from its spectrum; re and im are used up.
cdef void spectrum_inverse(float* re, float* im, float* data, int size) noexcept nogil
