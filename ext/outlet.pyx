"""From the rate of a playout's line to the rate that is pulled.

Owns the resampler. Each resampler delays a little differently; where one takes over from another, or from none, the
step between the last sample and the next is ramped off within 5 ms.
"""

from libc.stdint cimport int16_t, int32_t
from libc.string cimport memcpy, memset

from mediaserver.codecs.resample cimport Resampler, resampler_free, resampler_init, resampler_step


cdef void ramp_off(int16_t* out, int samples, int32_t step) noexcept nogil:
    cdef int i
    cdef int32_t value
    for i in range(samples):
        value = out[i] + step * (samples - i) // samples
        out[i] = <int16_t> (32767 if value > 32767 else (-32768 if value < -32768 else value))


cdef int outlet_write(Outlet* o, const int16_t* source, int samples, int in_hz, int16_t* out, int out_samples,
                      int out_hz) noexcept nogil:
    cdef int known = o.in_hz
    cdef int changed = o.in_hz != in_hz or o.out_hz != out_hz
    o.in_hz = in_hz
    o.out_hz = out_hz
    if in_hz == out_hz:
        memcpy(out, source, out_samples * sizeof(int16_t))
    else:
        if o.resampler.in_hz != in_hz or o.resampler.out_hz != out_hz:
            outlet_free(o)
            if resampler_init(&o.resampler, in_hz, out_hz) != 0:
                memset(&o.resampler, 0, sizeof(Resampler))
                memset(out, 0, out_samples * sizeof(int16_t))
                return -1
        resampler_step(&o.resampler, source, samples, out)
    if known and changed:
        ramp_off(out, out_hz // 200, o.last - out[0])
    o.last = out[out_samples - 1]
    return 0


cdef void outlet_free(Outlet* o) noexcept nogil:
    resampler_free(&o.resampler)
    memset(&o.resampler, 0, sizeof(Resampler))
