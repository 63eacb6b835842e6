# ITU-T G.722 at 64 kbit/s (mode 1): 16 kHz PCM, one byte per two samples. Fixed point, bit-exact.
from libc.stdint cimport int16_t, int32_t, uint8_t

cdef enum:
    G722_AHEAD = 22                # samples from a coder's input to the decoder's output

cdef struct G722Band:              # one ADPCM sub-band: names as in G.722 clause 6.2
    int32_t nb                     # NBL/NBH: log of the quantiser scale, 0..18432 / 22528
    int32_t det                    # DETL/DETH: quantiser scale
    int32_t s                      # SL/SH: predicted signal
    int32_t sz                     # SZL/SZH: its zero section
    int32_t a1                     # AL1/AH1, AL2/AH2: pole section
    int32_t a2
    int32_t r1                     # RLT1, RLT2: reconstructed signal, doubled as FILTEP wants it
    int32_t r2
    int32_t p1                     # PLT1, PLT2: partial reconstruction, only the signs matter
    int32_t p2
    int16_t d[8]                   # DLT1..6: quantised difference; two lanes spare
    int16_t b[8]                   # BL1..6: zero section; the spare lanes stay 0

cdef struct G722Encoder:
    G722Band low
    G722Band high
    int16_t history[24]            # QMF: the newest 22 input samples count

cdef struct G722Decoder:
    G722Band low
    G722Band high
    int16_t sums[12]               # QMF: the newest 11 of low + high and low - high count
    int16_t differences[12]

cdef void g722_encoder_init(G722Encoder* e) noexcept nogil
cdef void g722_decoder_init(G722Decoder* d) noexcept nogil
# pcm[samples], samples even -> out[samples / 2]
cdef void g722_encode(G722Encoder* e, const int16_t* pcm, int samples, uint8_t* out) noexcept nogil
# Lets the decoder go on as though pcm[0..samples), which continues what it gave last, had been sent: for lost packets.
# samples even; pcm[samples..samples + G722_AHEAD) is read as well: the two filters' delay.
cdef void g722_follow(G722Decoder* d, const int16_t* pcm, int samples) noexcept nogil
# payload[size] -> out[2 * size]
cdef void g722_decode(G722Decoder* d, const uint8_t* payload, int size, int16_t* out) noexcept nogil
