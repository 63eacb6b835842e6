"""Polyphase FIR resampling between 8, 12, 16, 24 and 48 kHz.

Owns the filters and the streaming state; knows no codec. Every pair of rates uses one of four equiripple low-pass
prototypes (by the larger of the two integer factors) of 48 taps per sample of the lower rate:

- pass band flat within 0.05 dB up to 0.425 of the lower rate (3.4 kHz at 8 kHz),
- aliases and images from 0.5 of the lower rate on at least 70 dB down (the tests measure each pair),
- linear phase, delay 24 samples of the lower rate: 3.0 ms at 8 kHz, 1.5 ms at 16 kHz.

Products are summed in pairs, shifted and added as 32-bit integers in a fixed order; the shift is what makes the sum
fit whatever the input is. The SSE2 loop and the plain one give the same bits.
"""
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

import numpy as np

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    /* sum over pairs of ((c[2k]*x[2k] + c[2k+1]*x[2k+1]) >> shift); taps is a multiple of 8. A pair cannot overflow:
       no coefficient is -32768. */
    static inline int32_t resample_dot(const int16_t *c, const int16_t *x, int taps, int shift)
    {
        int i;
    #if defined(__SSE2__)
        __m128i total = _mm_setzero_si128(), by = _mm_cvtsi32_si128(shift), a, b;
        for (i = 0; i < taps; i += 8) {
            a = _mm_loadu_si128((const __m128i *)(c + i));
            b = _mm_loadu_si128((const __m128i *)(x + i));
            total = _mm_add_epi32(total, _mm_sra_epi32(_mm_madd_epi16(a, b), by));
        }
        total = _mm_add_epi32(total, _mm_shuffle_epi32(total, 0x4E));
        total = _mm_add_epi32(total, _mm_shuffle_epi32(total, 0xB1));
        return _mm_cvtsi128_si32(total);
    #else
        int32_t total = 0;
        for (i = 0; i < taps; i += 2)
            total += ((int32_t)c[i] * x[i] + (int32_t)c[i + 1] * x[i + 1]) >> shift;
        return total;
    #endif
    }
    """
    int32_t resample_dot(const int16_t* c, const int16_t* x, int taps, int shift) noexcept nogil

cdef enum:
    RATES = 5
    TAPS_PER_LOW_SAMPLE = 48
    TAPS_MAX = 288                 # of one phase: 48 * 6, a multiple of 8
    TABLE_MAX = 320                # of one pair, all phases, each padded to a multiple of 8
    CHUNK = 480                    # input samples worked on at a time, on the stack
    FRACTION_BITS = 24             # of the prototypes below
    SUM_BITS = 13                  # fraction bits of the sum: 16 + 13 + 2 bits fit an int32

cdef struct Filter:
    int32_t up
    int32_t down
    int32_t taps                   # of one phase, padded
    int32_t shift
    int16_t coefficients[TABLE_MAX]   # phase by phase, oldest sample first

cdef Filter FILTERS[RATES][RATES]
cdef int32_t RATE_HZ[RATES]
RATE_HZ[:] = [8000, 12000, 16000, 24000, 48000]

# First halves of the symmetric prototypes, in 2^-24 (tests/unit/codecs/resample_design.py made them).
HALF_2 = [
    1867, 10674, 16393, 7876, -9462, -11443, 7611, 17332, -3617, -23913, -3944, 29500,
    15482, -32250, -30724, 30206, 48641, -21491, -67391, 4572, 84327, 21440, -96108, -56504,
    98885, 99384, -88628, -147545, 61372, 197020, -13535, -242441, -57948, 277029, 155745, -292419,
    -282782, 277912, 444093, -218019, -651802, 84565, 940805, 193604, -1437302, -908133, 2972202, 7014778,
]
HALF_3 = [
    207, 3915, 7833, 10798, 9606, 3513, -4523, -9076, -6234, 2602, 10664, 10603,
    922, -11476, -15863, -6706, 10247, 21043, 14739, -6026, -24953, -24546, -1881, 26213,
    35171, 13796, -23369, -45164, -29525, 15067, 52637, 48230, -255, -55382, -68367, -21602,
    51044, 87659, 50333, -37336, -103167, -84923, 12237, 111353, 123381, 25784, -108237, -162755,
    -77705, 89409, 199083, 143974, -49893, -227348, -224844, -16522, 241155, 321257, 119263, -231547,
    -437107, -276794, 183002, 586007, 536828, -57356, -819465, -1077581, -306480, 1455536, 3523158, 4911272,
]
HALF_4 = [
    -284, 1932, 3856, 6226, 7943, 8015, 5906, 1934, -2655, -6064, -6708, -4035,
    1009, 6191, 8901, 7411, 1891, -5391, -10930, -11615, -6408, 2822, 11854, 15989,
    12429, 1994, -10813, -19672, -19498, -9252, 7013, 21618, 26813, 18795, 163, -20684,
    -33226, -30047, -11033, 15744, 37306, 41957, 25484, -5850, -37440, -53011, -42870, -9609,
    31977, 61279, 61945, 30757, -19384, -64505, -80837, -57106, -1588, 60221, 97060, 87452,
    31749, -45890, -107579, -119869, -71419, 18930, 108797, 151671, 120436, 23350, -96454, -179410,
    -178365, -84205, 65139, 198708, 245028, 168719, -6794, -203606, -321804, -287397, -93845, 184191,
    415390, 468073, 275852, -116828, -552961, -811595, -691666, -99031, 899555, 2080762, 3130083, 3746301,
]
HALF_6 = [
    -609, 760, 1360, 2275, 3341, 4371, 5156, 5493, 5228, 4297, 2760, 808,
    -1254, -3061, -4252, -4554, -3848, -2217, 48, 2494, 4584, 5813, 5824, 4502,
    2025, -1147, -4351, -6854, -8015, -7443, -5111, -1396, 2973, 7046, 9859, 10652,
    9066, 5261, -77, -5845, -10748, -13584, -13526, -10352, -4541, 2776, 10031, 15544,
    17905, 16324, 10864, 2489, -7087, -15742, -21410, -22559, -18594, -10057, 1409, 13368,
    23091, 28174, 27117, 19734, 7291, -7688, -21917, -32057, -35489, -30964, -18992, -1840,
    16876, 32936, 42454, 42799, 33287, 15469, -7081, -29464, -46496, -53894, -49323, -33061,
    -8110, 20329, 45910, 62534, 65777, 54022, 29008, -4347, -38877, -66675, -80870, -77279,
    -55553, -19504, 23489, 63948, 92340, 101265, 87310, 52107, 2309, -51593, -97408, -123932,
    -123588, -94436, -41036, 26111, 92515, 142706, 163701, 148170, 96580, 17736, -72503, -154216,
    -207576, -217353, -176795, -89982, 27989, 153232, 257434, 313623, 302257, 216384, 64742, -128009,
    -324227, -479055, -548126, -495872, -302905, 28969, 475164, 990626, 1515809, 1985413, 2338418, 2527731,
]


cdef void make_filter(Filter* f, int in_hz, int out_hz, int common_hz, list half):
    """Splits the prototype into phases of `up` and rounds it to 16 bits, as many fraction bits as fit."""
    cdef int up = out_hz // common_hz
    cdef int down = in_hz // common_hz
    cdef list whole = half + half[::-1]
    cdef int taps = ((len(whole) + up - 1) // up + 7) // 8 * 8
    cdef int bits = 15
    cdef int i
    peak = max(whole) * up / 2.0 ** FRACTION_BITS
    while peak * 2.0 ** (bits + 1) < 32767.0:
        bits += 1
    f.up = up
    f.down = down
    f.taps = taps
    f.shift = bits - SUM_BITS
    memset(f.coefficients, 0, sizeof(f.coefficients))
    for i in range(len(whole)):
        scaled = whole[i] * up * 2.0 ** (bits - FRACTION_BITS)
        f.coefficients[(i % up) * taps + taps - 1 - i // up] = <int16_t>round(scaled)


cdef void make_filters():
    from math import gcd
    halves = {2: HALF_2, 3: HALF_3, 4: HALF_4, 6: HALF_6}
    cdef int i, j
    for i in range(RATES):
        for j in range(RATES):
            if i != j:
                common = gcd(RATE_HZ[i], RATE_HZ[j])
                factor = max(RATE_HZ[i], RATE_HZ[j]) // common
                make_filter(&FILTERS[i][j], RATE_HZ[i], RATE_HZ[j], common, halves[factor])


make_filters()


cdef int rate_index(int rate_hz) noexcept nogil:
    cdef int i
    for i in range(RATES):
        if RATE_HZ[i] == rate_hz:
            return i
    return -1


cdef int resampler_init(Resampler* r, int in_hz, int out_hz) noexcept nogil:
    cdef int source = rate_index(in_hz)
    cdef int target = rate_index(out_hz)
    cdef Filter* f
    memset(r, 0, sizeof(Resampler))
    if source < 0 or target < 0:
        return -1
    r.in_hz = in_hz
    r.out_hz = out_hz
    r.up = 1
    r.down = 1
    if source == target:
        return 0
    f = &FILTERS[source][target]
    r.up = f.up
    r.down = f.down
    r.taps_per_phase = f.taps
    r.shift = f.shift
    r.coefficients = f.coefficients
    r.history_size = f.taps - 1
    r.history = <int16_t*>calloc(f.taps, sizeof(int16_t))
    return 0 if r.history is not NULL else -1


cdef void resampler_free(Resampler* r) noexcept nogil:
    free(r.history)
    memset(r, 0, sizeof(Resampler))


cdef void resampler_reset(Resampler* r) noexcept nogil:
    r.phase = 0
    if r.history is not NULL:
        memset(r.history, 0, r.history_size * sizeof(int16_t))


cdef int step_chunk(Resampler* r, const int16_t* source, int samples, int16_t* out) noexcept nogil:
    cdef int16_t window[TAPS_MAX + CHUNK]
    cdef int history = r.history_size
    cdef int at = r.phase // r.up              # input sample the next output ends on, and the phase of the filter
    cdef int phase = r.phase % r.up
    cdef int written = 0
    cdef int32_t value
    memcpy(window, r.history, history * sizeof(int16_t))
    memcpy(&window[history], source, samples * sizeof(int16_t))
    while at < samples:
        value = resample_dot(r.coefficients + phase * r.taps_per_phase, &window[at], r.taps_per_phase, r.shift)
        value = (value + (1 << (SUM_BITS - 1))) >> SUM_BITS
        out[written] = <int16_t>(32767 if value > 32767 else (-32768 if value < -32768 else value))
        written += 1
        phase += r.down
        while phase >= r.up:
            phase -= r.up
            at += 1
    r.phase = (at - samples) * r.up + phase
    memcpy(r.history, &window[samples], history * sizeof(int16_t))
    return written


cdef int resampler_step(Resampler* r, const int16_t* source, int samples, int16_t* out) noexcept nogil:
    cdef int done = 0
    cdef int written = 0
    cdef int chunk
    if r.history is NULL:                      # same rate both sides
        memmove(out, source, samples * sizeof(int16_t))
        return samples
    while done < samples:
        chunk = min(samples - done, <int>CHUNK)
        written += step_chunk(r, source + done, chunk, out + written)
        done += chunk
    return written


cdef class StreamResampler:
    """One stream, one thread; see resample.pyi."""

    cdef Resampler state

    def __cinit__(self, int in_hz, int out_hz):
        if resampler_init(&self.state, in_hz, out_hz) != 0:
            raise ValueError(f"{in_hz} Hz to {out_hz} Hz is not served; rates are 8000, 12000, 16000, 24000, 48000")

    def __dealloc__(self):
        resampler_free(&self.state)

    @property
    def delay_ms(self):
        if self.state.history is NULL:
            return 0.0
        return (TAPS_PER_LOW_SAMPLE * 500.0) / min(self.state.in_hz, self.state.out_hz)

    def reset(self):
        resampler_reset(&self.state)

    def step(self, const int16_t[::1] pcm not None):
        cdef int samples = <int>pcm.shape[0]
        out = np.empty(samples * self.state.up // self.state.down + 1, np.int16)
        cdef int16_t[::1] view = out
        if samples == 0:
            return out[:0]
        return out[:resampler_step(&self.state, &pcm[0], samples, &view[0])]
