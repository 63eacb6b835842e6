# The way out of a line of samples: resampled to the pulled rate, and no step where the way changes.
from libc.stdint cimport int16_t, int32_t
from mediaserver.codecs.resample cimport Resampler

cdef struct Outlet:
    int32_t in_hz                  # rates of the latest samples; 0: none yet
    int32_t out_hz
    int32_t last                   # the latest sample
    Resampler resampler            # opened when first needed

# source[samples at in_hz] -> out[out_samples at out_hz]. 0, or -1: this pair of rates is not served, out is silence.
cdef int outlet_write(Outlet* o, const int16_t* source, int samples, int in_hz, int16_t* out, int out_samples,
                      int out_hz) noexcept nogil
cdef void outlet_free(Outlet* o) noexcept nogil
