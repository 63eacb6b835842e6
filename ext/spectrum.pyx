"""The Fourier transform of a real block: half as long a complex one, radix 2, and the usual split of even and odd.

Tables are made when the module is loaded. Held against numpy's.
"""

from libc.math cimport M_PI, cos, sin

import numpy as np

cdef float root_re[SPECTRUM_MAX]
cdef float root_im[SPECTRUM_MAX]

# The same once more, one stage's after the other's, from place `half` on: side by side they can be used four at a time.
cdef float stage_re[SPECTRUM_MAX]
cdef float stage_im[SPECTRUM_MAX]

cdef int each
cdef int width = 1
for each in range(SPECTRUM_MAX):
    root_re[each] = cos(2 * M_PI * each / SPECTRUM_MAX)
    root_im[each] = -sin(2 * M_PI * each / SPECTRUM_MAX)
while width < SPECTRUM_MAX:
    for each in range(width):
        stage_re[width + each] = root_re[each * (SPECTRUM_MAX // (2 * width))]
        stage_im[width + each] = root_im[each * (SPECTRUM_MAX // (2 * width))]
    width *= 2


cdef inline void butterflies(float* re, float* im, const float* wr, const float* wi, int half) noexcept nogil:
    """Of one group; the first two stages have too few to be worth more than this."""
    cdef int k
    cdef float a, b
    for k in range(half):
        a = re[k + half] * wr[k] - im[k + half] * wi[k]
        b = re[k + half] * wi[k] + im[k + half] * wr[k]
        re[k + half] = re[k] - a
        im[k + half] = im[k] - b
        re[k] += a
        im[k] += b


cdef void transform(float* re, float* im, int size) noexcept nogil:
    """Complex, in place; size: a power of two up to SPECTRUM_MAX."""
    cdef int i, j = 0, k, half, at
    for i in range(1, size):
        k = size >> 1
        while j & k:
            j ^= k
            k >>= 1
        j |= k
        if i < j:
            re[i], re[j] = re[j], re[i]
            im[i], im[j] = im[j], im[i]
    half = 1
    while half < size:
        at = 0
        while at < size:
            butterflies(re + at, im + at, stage_re + half, stage_im + half, half)
            at += 2 * half
        half *= 2


cdef void spectrum_forward(float* data, float* re, float* im, int size) noexcept nogil:
    cdef int half = size // 2
    cdef int step = SPECTRUM_MAX // size
    cdef int k, m
    cdef float er, ei, dr, di, wr, wi
    for k in range(half):
        re[k] = data[2 * k]
        im[k] = data[2 * k + 1]
    transform(re, im, half)
    er = re[0]
    re[half] = er - im[0]
    re[0] = er + im[0]
    im[0] = im[half] = 0
    for k in range(1, half // 2 + 1):
        m = half - k
        er = (re[k] + re[m]) / 2
        ei = (im[k] - im[m]) / 2
        dr = (im[k] + im[m]) / 2
        di = (re[m] - re[k]) / 2
        wr = root_re[k * step] * dr - root_im[k * step] * di
        wi = root_re[k * step] * di + root_im[k * step] * dr
        re[k] = er + wr
        im[k] = ei + wi
        re[m] = er - wr
        im[m] = wi - ei


cdef void spectrum_inverse(float* re, float* im, float* data, int size) noexcept nogil:
    cdef int half = size // 2
    cdef int step = SPECTRUM_MAX // size
    cdef int k, m
    cdef float er, ei, dr, di, wr, wi
    er = re[0]
    re[0] = (er + re[half]) / 2
    im[0] = -(er - re[half]) / 2       # conjugated: a forward transform then goes backwards
    for k in range(1, half // 2 + 1):
        m = half - k
        er = (re[k] + re[m]) / 2
        ei = (im[k] - im[m]) / 2
        wr = (re[k] - re[m]) / 2
        wi = (im[k] + im[m]) / 2
        dr = wr * root_re[k * step] + wi * root_im[k * step]
        di = wi * root_re[k * step] - wr * root_im[k * step]
        re[k] = er - di
        im[k] = -(ei + dr)
        re[m] = er + di
        im[m] = -(dr - ei)
    transform(re, im, half)
    for k in range(half):
        data[2 * k] = re[k] / half
        data[2 * k + 1] = -im[k] / half


# --- for tests and benchmarks

def forward(const float[::1] data not None):
    """complex64[size // 2 + 1]."""
    cdef int size = <int>data.shape[0]
    used = np.array(data, np.float32)
    out = np.zeros((2, size // 2 + 1), np.float32)
    cdef float[::1] view = used
    cdef float[:, ::1] parts = out
    spectrum_forward(&view[0], &parts[0, 0], &parts[1, 0], size)
    return out[0] + 1j * out[1]


def inverse(spectrum):
    """float32[size] of its complex[size // 2 + 1]."""
    cdef int size = 2 * (len(spectrum) - 1)
    out = np.zeros(size, np.float32)
    cdef float[::1] re = np.ascontiguousarray(np.real(spectrum), np.float32)
    cdef float[::1] im = np.ascontiguousarray(np.imag(spectrum), np.float32)
    cdef float[::1] view = out
    spectrum_inverse(&re[0], &im[0], &view[0], size)
    return out
