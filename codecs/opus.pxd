# Opus (RFC 6716) through the system's libopus, as RTP carries it (RFC 7587). PCM is mono at 8, 12, 16, 24 or 48 kHz.
from libc.stdint cimport int16_t, int32_t, uint8_t

# Makes an encoder or decoder; NULL: a rate that Opus does not serve, or no memory. Control path only.
cdef void* opus_open_encoder(int rate_hz, int bitrate_bps, int complexity, int fec, int dtx,
                             int packet_loss_percent) noexcept nogil
cdef void* opus_open_decoder(int rate_hz) noexcept nogil
# Both of the same rate: the states are plain memory (opus_encoder_get_size).
cdef void opus_copy_encoder(void* to, const void* source) noexcept nogil
cdef void opus_close_encoder(void* encoder) noexcept nogil
cdef void opus_close_decoder(void* decoder) noexcept nogil
# samples: 2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms. Returns bytes, 0: nothing to send (DTX), -1: not possible.
cdef int opus_encode_frame(void* encoder, const int16_t* pcm, int samples, uint8_t* out, int capacity) noexcept nogil
# A payload that says digital silence whatever came before it, of 20 ms; 0: none of that length. Made by no encoder:
# after it the encoder has to be restarted, for the decoder starts anew when SILK comes back (RFC 6716 4.5.2).
cdef int opus_silence(int rate_hz, int samples, uint8_t* out, int capacity) noexcept nogil
cdef void opus_restart(void* encoder) noexcept nogil
# Returns samples, -1: not decodable. A stereo payload comes out as the mean of both sides.
cdef int opus_decode_frame(void* decoder, const uint8_t* payload, int size, int16_t* out, int capacity) noexcept nogil
# samples must be a multiple of 2.5 ms; returns samples or -1.
cdef int opus_conceal(void* decoder, int16_t* out, int samples) noexcept nogil
cdef int opus_decode_lost(void* decoder, const uint8_t* payload, int size, int16_t* out, int samples) noexcept nogil
cdef int opus_samples(const uint8_t* payload, int size, int rate_hz) noexcept nogil
# 1 if the payload carries the frame before it a second time (SILK's LBRR), else 0.
cdef int opus_has_fec(const uint8_t* payload, int size) noexcept nogil
# The encoder spends nothing on what lies beyond half of rate_hz, as after resampling from there. To widen a narrow band
# libopus takes five seconds (silk/LP_variable_cutoff.c) unless it is restarted.
cdef void opus_set_band(void* encoder, int rate_hz) noexcept nogil
cdef void opus_set_loss(void* encoder, int packet_loss_percent) noexcept nogil
