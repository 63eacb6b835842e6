"""Opus through libopus: encoder with in-band FEC and DTX, decoder with concealment and FEC recovery.

Owns the libopus calls and the reading of the payload header that libopus 1.3 has no call for. Follows RFC 6716 for the
payload and RFC 7587 for its use in RTP (clock 48000 whatever the sampling rate). Decoders are mono: libopus folds a
stereo payload down by itself. All functions are safe for any payload bytes.
"""
from libc.string cimport memcpy

cdef extern from "opus.h" nogil:
    ctypedef struct OpusEncoder:
        pass
    ctypedef struct OpusDecoder:
        pass
    int OPUS_APPLICATION_VOIP
    int OPUS_SET_BITRATE_REQUEST
    int OPUS_SET_COMPLEXITY_REQUEST
    int OPUS_SET_INBAND_FEC_REQUEST
    int OPUS_SET_DTX_REQUEST
    int OPUS_SET_PACKET_LOSS_PERC_REQUEST
    int OPUS_SET_MAX_BANDWIDTH_REQUEST
    int OPUS_BANDWIDTH_NARROWBAND
    int OPUS_BANDWIDTH_WIDEBAND
    int OPUS_BANDWIDTH_FULLBAND
    int OPUS_RESET_STATE
    OpusEncoder* opus_encoder_create(int32_t rate_hz, int channels, int application, int* error)
    int opus_encoder_get_size(int channels)
    void opus_encoder_destroy(OpusEncoder* encoder)
    int opus_encoder_ctl(OpusEncoder* encoder, int request, ...)
    int32_t opus_encode(OpusEncoder* encoder, const int16_t* pcm, int samples, uint8_t* out, int32_t capacity)
    OpusDecoder* opus_decoder_create(int32_t rate_hz, int channels, int* error)
    void opus_decoder_destroy(OpusDecoder* decoder)
    int opus_decode(OpusDecoder* decoder, const uint8_t* payload, int32_t size, int16_t* out, int capacity, int fec)
    int opus_packet_get_nb_samples(const uint8_t* payload, int32_t size, int32_t rate_hz)
    int opus_packet_get_samples_per_frame(const uint8_t* payload, int32_t rate_hz)
    int opus_packet_get_nb_channels(const uint8_t* payload)
    int opus_packet_parse(const uint8_t* payload, int32_t size, uint8_t* toc, const uint8_t** frames, int16_t* sizes,
                          int* offset)

cdef enum:
    FRAMES_MAX = 48                # of one packet: 120 ms in 2.5 ms frames
    CELT_ONLY = 0x80               # TOC: configurations 16..31 have no SILK layer and therefore no FEC


cdef int default_bitrate_bps(int rate_hz) noexcept nogil:
    """What speech needs to sound like its source at this bandwidth. Below 20 kbit/s libopus has no room for FEC."""
    if rate_hz <= 12000:
        return 20000
    if rate_hz <= 16000:
        return 24000
    return 32000 if rate_hz <= 24000 else 40000


cdef void* opus_open_encoder(int rate_hz, int bitrate_bps, int complexity, int fec, int dtx,
                             int packet_loss_percent) noexcept nogil:
    cdef int error = 0
    cdef OpusEncoder* encoder = opus_encoder_create(rate_hz, 1, OPUS_APPLICATION_VOIP, &error)
    if encoder is NULL:
        return NULL
    # libopus refuses what is out of range: then the encoder is not what was asked for.
    error |= opus_encoder_ctl(encoder, OPUS_SET_BITRATE_REQUEST,
                              <int32_t>(bitrate_bps if bitrate_bps > 0 else default_bitrate_bps(rate_hz)))
    error |= opus_encoder_ctl(encoder, OPUS_SET_COMPLEXITY_REQUEST, <int32_t>complexity)
    error |= opus_encoder_ctl(encoder, OPUS_SET_INBAND_FEC_REQUEST, <int32_t>(fec != 0))
    error |= opus_encoder_ctl(encoder, OPUS_SET_DTX_REQUEST, <int32_t>(dtx != 0))
    error |= opus_encoder_ctl(encoder, OPUS_SET_PACKET_LOSS_PERC_REQUEST, <int32_t>packet_loss_percent)
    if error:
        opus_encoder_destroy(encoder)
        return NULL
    return encoder


cdef void* opus_open_decoder(int rate_hz) noexcept nogil:
    cdef int error = 0
    return opus_decoder_create(rate_hz, 1, &error)


cdef void opus_copy_encoder(void* to, const void* source) noexcept nogil:
    memcpy(to, source, opus_encoder_get_size(1))


cdef void opus_close_encoder(void* encoder) noexcept nogil:
    if encoder is not NULL:
        opus_encoder_destroy(<OpusEncoder*>encoder)


cdef void opus_close_decoder(void* decoder) noexcept nogil:
    if decoder is not NULL:
        opus_decoder_destroy(<OpusDecoder*>decoder)


cdef int opus_encode_frame(void* encoder, const int16_t* pcm, int samples, uint8_t* out, int capacity) noexcept nogil:
    cdef int32_t size
    if samples <= 0 or capacity <= 2:
        return -1
    size = opus_encode(<OpusEncoder*>encoder, pcm, samples, out, capacity)
    if size < 0:
        return -1
    return 0 if size <= 2 else size          # two bytes or less: DTX says this frame need not be sent


cdef int opus_silence(int rate_hz, int samples, uint8_t* out, int capacity) noexcept nogil:
    """RFC 6716 3.1: CELT alone, mono, one frame; 4.3: its first bit says silence, the rest follows from that."""
    cdef int bandwidth = 16 if rate_hz <= 8000 else (20 if rate_hz <= 16000 else (24 if rate_hz <= 24000 else 28))
    if capacity < 3 or samples * 50 != rate_hz:
        return 0
    out[0] = (bandwidth + 3) << 3
    out[1] = 0xFF
    out[2] = 0xFE
    return 3


cdef void opus_restart(void* encoder) noexcept nogil:
    opus_encoder_ctl(<OpusEncoder*>encoder, OPUS_RESET_STATE)


cdef int opus_decode_frame(void* decoder, const uint8_t* payload, int size, int16_t* out, int capacity) noexcept nogil:
    cdef int samples
    if size <= 0:
        return -1
    samples = opus_decode(<OpusDecoder*>decoder, payload, size, out, capacity, 0)
    return samples if samples > 0 else -1


cdef int opus_conceal(void* decoder, int16_t* out, int samples) noexcept nogil:
    if samples <= 0:
        return -1
    samples = opus_decode(<OpusDecoder*>decoder, NULL, 0, out, samples, 0)
    return samples if samples > 0 else -1


cdef int opus_decode_lost(void* decoder, const uint8_t* payload, int size, int16_t* out, int samples) noexcept nogil:
    if samples <= 0 or opus_has_fec(payload, size) == 0:
        return -1
    samples = opus_decode(<OpusDecoder*>decoder, payload, size, out, samples, 1)
    return samples if samples > 0 else -1


cdef int opus_samples(const uint8_t* payload, int size, int rate_hz) noexcept nogil:
    cdef const uint8_t* frames[FRAMES_MAX]
    cdef int16_t sizes[FRAMES_MAX]
    cdef int samples
    # The count alone reads two bytes; a payload whose lengths do not add up shall not get that far.
    if size <= 0 or opus_packet_parse(payload, size, NULL, frames, sizes, NULL) <= 0:
        return -1
    samples = opus_packet_get_nb_samples(payload, size, rate_hz)
    return samples if samples > 0 else -1


cdef int opus_has_fec(const uint8_t* payload, int size) noexcept nogil:
    """RFC 6716 4.2.3 and 4.2.4: a SILK frame opens with one VAD bit per 20 ms, then the LBRR bit, for each channel."""
    cdef const uint8_t* frames[FRAMES_MAX]
    cdef int16_t sizes[FRAMES_MAX]
    cdef int voiced_flags, found
    if size <= 0 or payload[0] & CELT_ONLY:
        return 0
    if opus_packet_parse(payload, size, NULL, frames, sizes, NULL) <= 0 or sizes[0] <= 0:
        return 0
    voiced_flags = opus_packet_get_samples_per_frame(payload, 48000) // 960
    voiced_flags = 1 if voiced_flags < 1 else voiced_flags
    found = (frames[0][0] >> (7 - voiced_flags)) & 1
    if opus_packet_get_nb_channels(payload) == 2:
        found |= (frames[0][0] >> (6 - 2 * voiced_flags)) & 1
    return found


cdef void opus_set_band(void* encoder, int rate_hz) noexcept nogil:
    cdef int band = OPUS_BANDWIDTH_NARROWBAND
    if rate_hz > 8000:
        band = OPUS_BANDWIDTH_WIDEBAND if rate_hz <= 16000 else OPUS_BANDWIDTH_FULLBAND
    opus_encoder_ctl(<OpusEncoder*>encoder, OPUS_SET_MAX_BANDWIDTH_REQUEST, <int32_t>band)


cdef void opus_set_loss(void* encoder, int packet_loss_percent) noexcept nogil:
    cdef int percent = 0 if packet_loss_percent < 0 else (100 if packet_loss_percent > 100 else packet_loss_percent)
    opus_encoder_ctl(<OpusEncoder*>encoder, OPUS_SET_PACKET_LOSS_PERC_REQUEST, <int32_t>percent)
