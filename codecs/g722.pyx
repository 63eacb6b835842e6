"""ITU-T G.722 at 64 kbit/s: two ADPCM sub-bands behind a 24-tap quadrature mirror filter.

Owns the codec arithmetic, block by block as clause 6.2 of the Recommendation names it (QUANTL, INVQAL, LOGSCL, SCALEL,
UPPOL2, UPPOL1, UPZERO, FILTEP, FILTEZ, PREDIC); each comment gives the block. Bit-exact: FFmpeg and spandsp are the
oracles in the tests. Modes 2 and 3 (56 and 48 kbit/s) are not offered by RTP and not here.

The zero section of the predictor works on eight 16-bit lanes at once, and the lower band's quantiser compares with all
its decision levels at once: both are what a scalar version spends its time on.
"""
from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    typedef int16_t g722_v8 __attribute__((vector_size(16)));
    #if defined(__SSE2__)
    #include <emmintrin.h>
    #endif

    /* UPZERO, DELAYA and FILTEZ for one band: adapts b[] to the new difference, shifts it into d[], returns SZ.
       d never exceeds 16384 * 20456 / 32768 = 10228, so that doubling it cannot saturate, and
       |b| * 255/256 + 128 stays inside 16 bits: the saturations of the text are not needed here. */
    static inline int32_t g722_zero_section(int16_t *d, int16_t *b, int difference)
    {
        const g722_v8 used = {-1, -1, -1, -1, -1, -1, 0, 0};
        g722_v8 vd, vb, now, unlike, step;
        int16_t newest = (int16_t)difference;
        memcpy(&vd, d, 16);
        memcpy(&vb, b, 16);
        now = (g722_v8){newest, newest, newest, newest, newest, newest, newest, newest};
        unlike = (vd ^ now) >> 15;                         /* -1 where the signs differ */
        step = ((128 ^ unlike) - unlike) & used & (now != 0);
        vb = vb - (vb >> 8) + ((vb & 255) != 0) + step;    /* (b * 32640 >> 15) +- 128 */
        vd = __builtin_shufflevector(vd, now, 8, 0, 1, 2, 3, 4, 5, 6);
        memcpy(d, &vd, 16);
        memcpy(b, &vb, 16);
    #if defined(__SSE2__)
        {
            __m128i doubled = (__m128i)(vd + vd), m = (__m128i)vb, t;
            t = _mm_or_si128(_mm_slli_epi16(_mm_mulhi_epi16(doubled, m), 1),
                             _mm_srli_epi16(_mm_mullo_epi16(doubled, m), 15));   /* each product >> 15 */
            t = _mm_madd_epi16(t, _mm_set1_epi16(1));
            t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
            t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1));
            return _mm_cvtsi128_si32(t);
        }
    #else
        {
            int32_t total = 0;
            for (int i = 0; i < 6; i++)
                total += (2 * (int32_t)vd[i] * vb[i]) >> 15;
            return total;
        }
    #endif
    }

    /* QUANTL's search: how many of the 29 decision levels Q6[i] * DETL >> 12 the magnitude reaches.
       levels[] holds Q6 << 4, padded with 65535: at DETL = 16384 that is 16383, below a magnitude of 32767, so the
       count is limited by the caller. */
    static inline int32_t g722_levels_reached(const uint16_t *levels, int32_t det, int32_t magnitude)
    {
        int16_t count = 0;
        for (int i = 0; i < 32; i++)
            count += (int16_t)((uint16_t)(((uint32_t)levels[i] * (uint16_t)det) >> 16)) <= (int16_t)magnitude;
        return count;
    }
    """
    int32_t g722_zero_section(int16_t* d, int16_t* b, int difference) noexcept nogil
    int32_t g722_levels_reached(const uint16_t* levels, int32_t det, int32_t magnitude) noexcept nogil

cdef enum:
    BLOCK_PAIRS = 80               # 10 ms: what the QMF works on at a time, on the stack

# --- tables of the Recommendation (clause 6.2 and tables 7..21); *_ROM hold what the blocks look up
cdef int16_t QMF_EVEN[12]
cdef int16_t QMF_ODD[12]
cdef int16_t QMF_LOW[24]           # both phases interleaved, so that a sub-band sample is one 24-tap product
cdef int16_t QMF_HIGH[24]
cdef uint16_t Q6_LEVELS[32]
cdef uint8_t LOW_WORD[2][33]       # by sign and levels reached (three of them are padding)
cdef int16_t QM2[4]
cdef int16_t QM4[16]
cdef int16_t QM6[64]
cdef int16_t WL_OF_IL4[16]
cdef int16_t WH_OF_IH[4]
cdef int16_t ILB[32]

QMF_EVEN[:] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11]
QM2[:] = [-7408, -1616, 7408, 1616]
QM4[:] = [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0]
QM6[:] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
    -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
    24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
]
ILB[:] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
]
WH_OF_IH[:] = [798, -214, 798, -214]     # WH[RH2[IH]]


cdef void fill_tables():
    q6 = [35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
          1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919]
    wl = [-60, -30, 58, 172, 334, 538, 1198, 3042]
    rl4 = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0]
    cdef int i
    for i in range(12):
        QMF_ODD[i] = QMF_EVEN[11 - i]
        QMF_LOW[2 * i] = QMF_EVEN[i]
        QMF_LOW[2 * i + 1] = QMF_ODD[i]
        QMF_HIGH[2 * i] = -QMF_EVEN[i]
        QMF_HIGH[2 * i + 1] = QMF_ODD[i]
    for i in range(32):
        Q6_LEVELS[i] = <uint16_t>(q6[i] << 4) if i < 29 else 65535
    for i in range(33):
        # ILN: 63, 62, 31, 30 .. 4; ILP: 61, 60 .. 32; the last interval has no upper level.
        step = min(i, 29)
        LOW_WORD[0][i] = 61 - step
        LOW_WORD[1][i] = 63 - step if step < 2 else 33 - step
    for i in range(16):
        WL_OF_IL4[i] = wl[rl4[i]]


fill_tables()


cdef inline int32_t saturate(int32_t value) noexcept nogil:
    return 32767 if value > 32767 else (-32768 if value < -32768 else value)


cdef inline void band_init(G722Band* band, int32_t det) noexcept nogil:
    memset(band, 0, sizeof(G722Band))
    band.det = det


cdef inline void scale(G722Band* band, int32_t step, int32_t nb_max, int32_t shift_base) noexcept nogil:
    """LOGSCL + SCALEL (shift_base 8) or LOGSCH + SCALEH (10)."""
    cdef int32_t nb = ((band.nb * 127) >> 7) + step
    nb = 0 if nb < 0 else (nb_max if nb > nb_max else nb)
    band.nb = nb
    # shift_base - (nb >> 11) may be -1: shift left by four first, the low bits fall out again.
    band.det = ((ILB[(nb >> 6) & 31] << 4) >> (shift_base + 4 - (nb >> 11))) << 2


cdef inline void predict(G722Band* band, int32_t difference) noexcept nogil:
    """Block 4: adapts the predictor to the quantised difference and predicts the next sample."""
    cdef int32_t p0 = difference + band.sz                                  # PARREC; only its sign is used
    cdef int32_t r0 = saturate(band.s + difference)                         # RECONS
    p0 = saturate(p0) >> 31
    cdef int32_t like1 = -1 if p0 == band.p1 else 0
    cdef int32_t like2 = -1 if p0 == band.p2 else 0
    # UPPOL2
    cdef int32_t a1 = band.a1
    cdef int32_t wd = saturate(4 * a1)
    wd = (wd ^ like1) - like1
    wd = 32767 if wd > 32767 else wd
    cdef int32_t a2 = (wd >> 7) + (128 if like2 else -128) + ((band.a2 * 32512) >> 15)
    a2 = 12288 if a2 > 12288 else (-12288 if a2 < -12288 else a2)
    # UPPOL1
    a1 = (192 if like1 else -192) + ((a1 * 32640) >> 15)
    wd = 15360 - a2
    a1 = wd if a1 > wd else (-wd if a1 < -wd else a1)
    band.a1 = a1
    band.a2 = a2
    band.p2 = band.p1
    band.p1 = p0
    # FILTEP on the doubled signal, then FILTEZ and PREDIC
    band.r2 = band.r1
    band.r1 = saturate(r0 + r0)
    cdef int32_t sp = saturate(((a1 * band.r1) >> 15) + ((a2 * band.r2) >> 15))
    band.sz = saturate(g722_zero_section(band.d, band.b, difference))
    band.s = saturate(sp + band.sz)


cdef inline int32_t encode_low(G722Band* band, int32_t sample) noexcept nogil:
    cdef int32_t error = saturate(sample - band.s)                          # SUBTRA
    cdef int32_t negative = error < 0
    cdef int32_t word = LOW_WORD[negative][g722_levels_reached(Q6_LEVELS, band.det, error ^ (error >> 31))]   # QUANTL
    cdef int32_t difference = (band.det * QM4[word >> 2]) >> 15             # INVQAL
    scale(band, WL_OF_IL4[word >> 2], 18432, 8)
    predict(band, difference)
    return word


cdef inline int32_t encode_high(G722Band* band, int32_t sample) noexcept nogil:
    cdef int32_t error = saturate(sample - band.s)                          # SUBTRA
    cdef int32_t outer = (error ^ (error >> 31)) >= ((564 * band.det) >> 12)
    cdef int32_t word = (1 if error < 0 else 3) - outer                     # QUANTH: IHN 1, 0; IHP 3, 2
    cdef int32_t difference = (band.det * QM2[word]) >> 15                  # INVQAH
    scale(band, WH_OF_IH[word], 22528, 10)
    predict(band, difference)
    return word


cdef void g722_encoder_init(G722Encoder* e) noexcept nogil:
    memset(e, 0, sizeof(G722Encoder))
    band_init(&e.low, 32)
    band_init(&e.high, 8)


cdef void g722_decoder_init(G722Decoder* d) noexcept nogil:
    memset(d, 0, sizeof(G722Decoder))
    band_init(&d.low, 32)
    band_init(&d.high, 8)


cdef inline int32_t dot24(const int16_t* a, const int16_t* b) noexcept nogil:
    cdef int32_t total = 0
    cdef int i
    for i in range(24):
        total += a[i] * b[i]
    return total


cdef void encode_block(G722Encoder* e, const int16_t* pcm, int pairs, uint8_t* out) noexcept nogil:
    cdef int16_t x[22 + 2 * BLOCK_PAIRS]
    cdef int32_t i, low, high
    memcpy(x, e.history, 22 * sizeof(int16_t))
    memcpy(&x[22], pcm, 2 * pairs * sizeof(int16_t))
    for i in range(pairs):
        low = dot24(&x[2 * i], QMF_LOW) >> 14
        high = dot24(&x[2 * i], QMF_HIGH) >> 14
        low = encode_low(&e.low, low)
        high = encode_high(&e.high, high)
        out[i] = <uint8_t>((high << 6) | low)
    memcpy(e.history, &x[2 * pairs], 22 * sizeof(int16_t))


cdef void g722_encode(G722Encoder* e, const int16_t* pcm, int samples, uint8_t* out) noexcept nogil:
    cdef int done = 0
    cdef int pairs
    while done < samples // 2:
        pairs = min(samples // 2 - done, <int>BLOCK_PAIRS)
        encode_block(e, pcm + 2 * done, pairs, out + done)
        done += pairs


cdef inline int32_t limit(int32_t value) noexcept nogil:
    """LIMIT: a sub-band sample, 15 bits."""
    return 16383 if value > 16383 else (-16384 if value < -16384 else value)


cdef void decode_block(G722Decoder* d, const uint8_t* payload, int pairs, int16_t* out) noexcept nogil:
    cdef int16_t sums[11 + BLOCK_PAIRS]
    cdef int16_t differences[11 + BLOCK_PAIRS]
    cdef int32_t i, j, low, high, word, step, even, odd
    memcpy(sums, d.sums, 11 * sizeof(int16_t))
    memcpy(differences, d.differences, 11 * sizeof(int16_t))
    for i in range(pairs):
        word = payload[i] & 63
        low = limit(d.low.s + ((d.low.det * QM6[word]) >> 15))              # INVQBL, LIMIT
        step = (d.low.det * QM4[word >> 2]) >> 15                           # INVQAL
        scale(&d.low, WL_OF_IL4[word >> 2], 18432, 8)
        predict(&d.low, step)
        word = payload[i] >> 6
        step = (d.high.det * QM2[word]) >> 15                               # INVQAH
        high = limit(d.high.s + step)
        scale(&d.high, WH_OF_IH[word], 22528, 10)
        predict(&d.high, step)
        sums[11 + i] = <int16_t>(low + high)
        differences[11 + i] = <int16_t>(low - high)
    for i in range(pairs):
        even = 0
        odd = 0
        for j in range(12):
            even += differences[i + j] * QMF_ODD[j]
            odd += sums[i + j] * QMF_EVEN[j]
        out[2 * i] = <int16_t>saturate(even >> 11)
        out[2 * i + 1] = <int16_t>saturate(odd >> 11)
    memcpy(d.sums, &sums[pairs], 11 * sizeof(int16_t))
    memcpy(d.differences, &differences[pairs], 11 * sizeof(int16_t))


cdef void g722_decode(G722Decoder* d, const uint8_t* payload, int size, int16_t* out) noexcept nogil:
    cdef int done = 0
    cdef int pairs
    while done < size:
        pairs = min(size - done, <int>BLOCK_PAIRS)
        decode_block(d, payload + done, pairs, out + 2 * done)
        done += pairs


cdef void g722_follow(G722Decoder* d, const int16_t* pcm, int samples) noexcept nogil:
    """Both sides keep the same sub-band state: a coder that takes the decoder's over says what would have been sent.

    What the decoder gave is G722_AHEAD samples older than what its state has seen, so that much of pcm is the past.
    """
    cdef G722Encoder coder
    cdef uint8_t codes[BLOCK_PAIRS]
    cdef int16_t unheard[2 * BLOCK_PAIRS]
    cdef int done = 0
    cdef int pairs
    coder.low = d.low
    coder.high = d.high
    memcpy(coder.history, pcm, G722_AHEAD * sizeof(int16_t))
    while done < samples // 2:
        pairs = min(samples // 2 - done, <int>BLOCK_PAIRS)
        encode_block(&coder, pcm + G722_AHEAD + 2 * done, pairs, codes)
        decode_block(d, codes, pairs, unheard)
        done += pairs
