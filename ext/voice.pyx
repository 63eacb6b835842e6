"""The encoding side of a leg: samples of any mix rate in, frames of the negotiated codec and packet time out.

Owns encoder, resamplers and the samples that do not fill a frame yet. Knows no RTP header, no leg and no socket.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove
from mediaserver.codecs.audio cimport (
    CODEC_OPUS,
    codec_close,
    codec_copy_encoder,
    codec_encode,
    codec_open_encoder,
    codec_restart,
    codec_set_band,
    codec_set_loss,
    codec_silence,
)
from mediaserver.codecs.resample cimport resampler_free, resampler_init, resampler_reset, resampler_step

cdef enum:
    TICK_SAMPLES_MAX = 960
    PTIME_MS_MAX = 60
    REST_FRAMES = 5                # what was said before has rung out, and its FEC copy is sent

cdef int RATES_HZ[VOICE_RATES]
RATES_HZ[:] = [8000, 16000, 48000]


cdef int frame_ms(const CodecConfig* config, int ptime_ms) noexcept nogil:
    cdef int ms = ptime_ms - ptime_ms % 10
    if ms < 10:
        ms = 10
    if ms > PTIME_MS_MAX:
        ms = PTIME_MS_MAX
    if config.codec_id == CODEC_OPUS and (ms == 30 or ms == 50):      # Opus has no such frames
        ms -= 10
    return ms


cdef uint64_t mixed(uint64_t key, int32_t part) noexcept nogil:
    return (key ^ <uint32_t>part) * <uint64_t>1099511628211


cdef uint64_t base_key(const CodecConfig* config, int ms) noexcept nogil:
    cdef uint64_t key = <uint64_t>14695981039346656037
    cdef int32_t parts[7]
    cdef int i
    parts[0] = config.codec_id
    parts[1] = config.rate_hz
    parts[2] = config.clock_hz
    parts[3] = config.bitrate_bps
    parts[4] = config.complexity
    parts[5] = config.dtx          # and not config.fec: an encoder that is told of no loss makes none
    parts[6] = ms
    for i in range(7):
        key = mixed(key, parts[i])
    return key


cdef Voice* voice_new(const CodecConfig* config, int payload_type, int ptime_ms) noexcept nogil:
    cdef Voice* v
    cdef AudioCodec codec
    cdef int ms = frame_ms(config, ptime_ms)
    cdef int capacity
    cdef int i
    if codec_open_encoder(&codec, config) < 0:
        return NULL
    capacity = codec.rate_hz * (ms + 20) // 1000
    v = <Voice*>calloc(1, sizeof(Voice) + capacity * sizeof(int16_t))
    if v is NULL:
        codec_close(&codec)
        return NULL
    v.codec = codec
    v.buffer = <int16_t*>(v + 1)
    v.capacity = capacity
    v.payload_type = payload_type
    v.rate_hz = codec.rate_hz
    v.clock_hz = codec.clock_hz
    v.frame_samples = codec.rate_hz * ms // 1000
    v.frame_clock = codec.clock_hz * ms // 1000
    v.base_key = base_key(config, ms)
    v.share_key = mixed(v.base_key, 0)
    if config.codec_id == CODEC_OPUS and config.fec:
        v.fec_bitrate_bps = config.bitrate_bps
    v.whole_ticks = ms == 20
    v.source = -1
    if not config.dtx:
        v.silence_size = codec_silence(&codec, v.frame_samples, v.silence, VOICE_SILENCE_BYTES_MAX)
    for i in range(VOICE_RATES):
        if resampler_init(&v.resamplers[i], RATES_HZ[i], codec.rate_hz) < 0:
            voice_free(v)
            return NULL
    return v


cdef void voice_free(Voice* v) noexcept nogil:
    cdef int i
    if v is NULL:
        return
    codec_close(&v.codec)
    for i in range(VOICE_RATES):
        resampler_free(&v.resamplers[i])
    free(v)


cdef void voice_set_fec(Voice* v, int percent) noexcept nogil:
    v.fec_percent = percent if v.fec_bitrate_bps else 0
    v.share_key = mixed(v.base_key, v.fec_percent)
    codec_set_loss(&v.codec, v.fec_percent)


cdef int voice_mix_rate(int rate_hz) noexcept nogil:
    if rate_hz <= 8000:
        return 8000
    return 16000 if rate_hz <= 16000 else 48000


cdef void voice_push(Voice* v, const int16_t* pcm, int samples, int rate_hz) noexcept nogil:
    cdef int16_t resampled[TICK_SAMPLES_MAX]
    cdef int source = 0 if rate_hz == 8000 else (1 if rate_hz == 16000 else 2)
    cdef int count
    if source != v.source:             # what another source left in this filter belongs to long ago
        resampler_reset(&v.resamplers[source])
        if v.source == 0:              # narrowband until now: the far decoder begins anew with the band, so may we
            codec_restart(&v.codec)
        codec_set_band(&v.codec, rate_hz)
        v.source = source
    count = resampler_step(&v.resamplers[source], pcm, samples, resampled)
    if count > v.capacity - v.fill:    # cannot be while every push is followed by taking all whole frames
        count = v.capacity - v.fill
    memcpy(v.buffer + v.fill, resampled, count * sizeof(int16_t))
    v.fill += count


cdef bint rests(Voice* v) noexcept nogil:
    """Whether the frame that is next is one more of a silence that lasts; the encoder begins anew after it."""
    if v.silence_size == 0:
        return False
    if v.buffer[0] != 0 or memcmp(v.buffer, v.buffer + 1, (v.frame_samples - 1) * sizeof(int16_t)) != 0:
        v.silent_frames = 0
        return False
    if v.silent_frames < REST_FRAMES:
        v.silent_frames += 1
        return False
    if v.silent_frames == REST_FRAMES:
        v.silent_frames += 1
        codec_restart(&v.codec)
    return True


cdef Taken voice_take(Voice* v, uint8_t* out, int* size) noexcept nogil:
    cdef Taken taken = TAKEN_ENCODED
    if v.fill < v.frame_samples:
        return TAKEN_NOTHING
    if rests(v):
        taken = TAKEN_SILENCE
        size[0] = v.silence_size
        memcpy(out, v.silence, v.silence_size)
    else:
        size[0] = codec_encode(&v.codec, v.buffer, v.frame_samples, out, VOICE_PAYLOAD_MAX)
    v.fill -= v.frame_samples
    memmove(v.buffer, v.buffer + v.frame_samples, v.fill * sizeof(int16_t))
    return taken


cdef void voice_copy(Voice* to, const Voice* source) noexcept nogil:
    cdef int i
    if to.base_key != source.base_key:
        return
    codec_copy_encoder(&to.codec, &source.codec)
    codec_set_loss(&to.codec, to.fec_percent)      # the copy brought the other's
    for i in range(VOICE_RATES):
        if source.resamplers[i].history_size > 0:
            memcpy(to.resamplers[i].history, source.resamplers[i].history,
                   source.resamplers[i].history_size * sizeof(int16_t))
        to.resamplers[i].phase = source.resamplers[i].phase
    memcpy(to.buffer, source.buffer, source.fill * sizeof(int16_t))
    to.fill = source.fill
    to.source = source.source
    to.silent_frames = source.silent_frames
