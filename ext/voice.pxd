# What one party is sent when we make it ourselves: resampled to the codec's rate, framed to its packet time, encoded.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from mediaserver.codecs.audio cimport AudioCodec, CodecConfig
from mediaserver.codecs.resample cimport Resampler

cdef enum:
    VOICE_RATES = 3                    # 8, 16 and 48 kHz: the rates mixes and prompts have
    VOICE_PAYLOAD_MAX = 1400           # what we make never needs IP fragments
    VOICE_SILENCE_BYTES_MAX = 8

cdef enum Taken:
    TAKEN_NOTHING = 0                  # no frame was whole
    TAKEN_ENCODED = 1
    TAKEN_SILENCE = 2                  # digital silence that lasts: the codec's fixed payload, without an encode

cdef struct Voice:
    int32_t payload_type
    int32_t rate_hz
    int32_t clock_hz
    AudioCodec codec                   # encoder only
    int32_t frame_samples              # of one packet, at rate_hz
    uint32_t frame_clock               # the same in RTP units
    uint64_t base_key                  # equal ones: the same encoder, but for what it is told of loss
    uint64_t share_key                 # equal keys encode equal samples to equal bytes
    int32_t fec_bitrate_bps            # of an encoder whose in-band FEC the party uses; 0: no such
    int32_t fec_percent                # loss that FEC is made for now; 0: none is made
    int32_t whole_ticks                # one packet per 20 ms tick: may share an encode
    int32_t source                     # which resampler fed it last; -1: none
    int32_t fill
    int32_t capacity
    uint32_t timestamp                 # RTP time of the next frame, valid while running
    uint64_t tick                      # of the last push; a gap ends the talk spurt
    int32_t running
    int32_t silent_frames              # digital silence in a row; at REST_FRAMES the encoder rests
    int32_t silence_size               # 0: the codec has no payload for silence, or leaves it out by itself (DTX)
    uint8_t silence[VOICE_SILENCE_BYTES_MAX]
    Resampler resamplers[VOICE_RATES]
    int16_t* buffer                    # samples waiting for a whole frame; behind the struct

# config: of the encoder. ptime_ms: 10..60, taken down to what the codec can frame. NULL: not possible or no memory.
# Allocates: control path only.
cdef Voice* voice_new(const CodecConfig* config, int payload_type, int ptime_ms) noexcept nogil
cdef void voice_free(Voice* v) noexcept nogil
# From the next frame on; percent: 0 (no FEC) or FEC_LOSS_PERCENT. Of an encoder that others share: not without them.
cdef void voice_set_fec(Voice* v, int percent) noexcept nogil
# The rate a mix should have for a codec of rate_hz: 8000, 16000 or 48000.
cdef int voice_mix_rate(int rate_hz) noexcept nogil
# pcm[samples] at 8, 16 or 48 kHz, 20 ms at the most, joins what waits. The encoder keeps to the band of that rate: what
# a resampler left above it is nothing, and costs bits and up to half of the encoder's time.
cdef void voice_push(Voice* v, const int16_t* pcm, int samples, int rate_hz) noexcept nogil
# *size (0: the codec has nothing to send, DTX; -1: it failed) when a frame was whole. out[VOICE_PAYLOAD_MAX].
cdef Taken voice_take(Voice* v, uint8_t* out, int* size) noexcept nogil
# `to` goes on where `source` is, encoder and resampler alike (equal base keys); its FEC stays as it was.
cdef void voice_copy(Voice* to, const Voice* source) noexcept nogil
