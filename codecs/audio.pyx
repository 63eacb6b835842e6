"""One shape for all audio codecs: the hot path calls `codec_*` and never asks which codec it holds.

Owns the dispatch by codec id and the checks of sizes; the arithmetic is in g711, g722, opus, l16 and comfort. `Codec`
is the same for Python: offline rendering and tests.

CN (RFC 3389) is a codec like the others here, with one difference: its payload has no duration. Decoding it returns
0 samples and changes the noise that `codec_conceal` then makes.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from mediaserver.codecs.comfort cimport (
    ComfortNoise, comfort_fill, comfort_init, comfort_read, comfort_write, level_dbov,
)
from mediaserver.codecs.g711 cimport g711_decode_a, g711_decode_mu, g711_encode_a, g711_encode_mu
from mediaserver.codecs.g722 cimport (
    G722Decoder, G722Encoder, g722_decode, g722_decoder_init, g722_encode, g722_encoder_init, g722_follow,
)
from mediaserver.codecs.l16 cimport l16_decode, l16_encode
from mediaserver.codecs.opus cimport (
    opus_close_decoder, opus_close_encoder, opus_conceal, opus_copy_encoder, opus_decode_frame, opus_decode_lost,
    opus_encode_frame, opus_has_fec, opus_open_decoder, opus_open_encoder, opus_restart, opus_samples, opus_set_band,
    opus_set_loss, opus_silence,
)

cdef enum:
    ENCODES = 1                    # AudioCodec.sides
    DECODES = 2
    RATE_HZ_MIN = 8000
    RATE_HZ_MAX = 48000
    CONCEAL_SAMPLES_MAX = 48000    # of one Python call: one second is beyond any concealment


cdef int own_rate_hz(const CodecConfig* config) noexcept nogil:
    """The PCM rate of the codec itself; 0: not an audio codec."""
    if config.codec_id == CODEC_PCMU or config.codec_id == CODEC_PCMA:
        return 8000
    if config.codec_id == CODEC_G722:
        return 16000
    if config.codec_id == CODEC_OPUS:
        return 48000
    if config.codec_id == CODEC_L16 or config.codec_id == CODEC_CN:
        return config.clock_hz if config.clock_hz > 0 else 8000
    return 0


cdef int rate_possible(const CodecConfig* config, int rate_hz) noexcept nogil:
    if rate_hz < RATE_HZ_MIN or rate_hz > RATE_HZ_MAX:
        return 0
    if config.codec_id == CODEC_OPUS or config.codec_id == CODEC_CN:
        return 1                   # libopus judges; noise is made at any rate
    return rate_hz == own_rate_hz(config)


cdef int usual_clock_hz(int codec_id, int rate_hz) noexcept nogil:
    if codec_id == CODEC_OPUS:
        return 48000               # RFC 7587, whatever is sampled
    # G.722's 8000 is a historic error that stays (RFC 3551 4.5.2).
    return 8000 if codec_id == CODEC_G722 else rate_hz


cdef int open_encoder(AudioCodec* codec, const CodecConfig* config) noexcept nogil:
    codec.sides |= ENCODES
    if codec.codec_id == CODEC_G722:
        codec.encoder = calloc(1, sizeof(G722Encoder))
        if codec.encoder is not NULL:
            g722_encoder_init(<G722Encoder*>codec.encoder)
    elif codec.codec_id == CODEC_OPUS:
        codec.encoder = opus_open_encoder(
            codec.rate_hz, config.bitrate_bps, config.complexity, config.fec, config.dtx, config.packet_loss_percent
        )
    else:
        return 0                   # stateless
    return 0 if codec.encoder is not NULL else -1


cdef int open_decoder(AudioCodec* codec) noexcept nogil:
    codec.sides |= DECODES
    if codec.codec_id == CODEC_G722:
        codec.decoder = calloc(1, sizeof(G722Decoder))
        if codec.decoder is not NULL:
            g722_decoder_init(<G722Decoder*>codec.decoder)
    elif codec.codec_id == CODEC_OPUS:
        codec.decoder = opus_open_decoder(codec.rate_hz)
    elif codec.codec_id == CODEC_CN:
        codec.decoder = calloc(1, sizeof(ComfortNoise))
        if codec.decoder is not NULL:
            comfort_init(<ComfortNoise*>codec.decoder)
    else:
        return 0                   # stateless
    return 0 if codec.decoder is not NULL else -1


cdef int open_sides(AudioCodec* codec, const CodecConfig* config, int sides) noexcept nogil:
    cdef int rate_hz = config.rate_hz if config.rate_hz > 0 else own_rate_hz(config)
    memset(codec, 0, sizeof(AudioCodec))
    if own_rate_hz(config) == 0 or not rate_possible(config, rate_hz):
        return -1
    codec.codec_id = config.codec_id
    codec.rate_hz = rate_hz
    codec.clock_hz = config.clock_hz if config.clock_hz > 0 else usual_clock_hz(config.codec_id, rate_hz)
    if (sides & ENCODES and open_encoder(codec, config) != 0) or (sides & DECODES and open_decoder(codec) != 0):
        codec_close(codec)
        return -1
    return 0


cdef int codec_open(AudioCodec* codec, const CodecConfig* config) noexcept nogil:
    return open_sides(codec, config, ENCODES | DECODES)


cdef int codec_open_decoder(AudioCodec* codec, const CodecConfig* config) noexcept nogil:
    return open_sides(codec, config, DECODES)


cdef int codec_open_encoder(AudioCodec* codec, const CodecConfig* config) noexcept nogil:
    return open_sides(codec, config, ENCODES)


cdef void codec_close(AudioCodec* codec) noexcept nogil:
    if codec.codec_id == CODEC_OPUS:
        opus_close_encoder(codec.encoder)
        opus_close_decoder(codec.decoder)
    else:
        free(codec.encoder)
        free(codec.decoder)
    memset(codec, 0, sizeof(AudioCodec))


cdef int codec_copy_encoder(AudioCodec* to, const AudioCodec* source) noexcept nogil:
    if to.codec_id != source.codec_id or to.rate_hz != source.rate_hz or not (to.sides & source.sides & ENCODES):
        return -1
    if to.codec_id == CODEC_G722:
        memcpy(to.encoder, source.encoder, sizeof(G722Encoder))
    elif to.codec_id == CODEC_OPUS:
        opus_copy_encoder(to.encoder, source.encoder)
    return 0


cdef int codec_encode(AudioCodec* codec, const int16_t* pcm, int samples, uint8_t* out, int capacity) noexcept nogil:
    if samples <= 0 or not codec.sides & ENCODES:
        return -1
    if codec.codec_id == CODEC_PCMU or codec.codec_id == CODEC_PCMA:
        if samples > capacity:
            return -1
        if codec.codec_id == CODEC_PCMU:
            g711_encode_mu(pcm, samples, out)
        else:
            g711_encode_a(pcm, samples, out)
        return samples
    if codec.codec_id == CODEC_G722:
        if samples & 1 or samples // 2 > capacity:
            return -1
        g722_encode(<G722Encoder*>codec.encoder, pcm, samples, out)
        return samples // 2
    if codec.codec_id == CODEC_OPUS:
        return opus_encode_frame(codec.encoder, pcm, samples, out, capacity)
    if codec.codec_id == CODEC_L16:
        if samples > capacity // 2:
            return -1
        l16_encode(pcm, samples, out)
        return 2 * samples
    if codec.codec_id == CODEC_CN:
        return comfort_write(level_dbov(pcm, samples), out, capacity)
    return -1


cdef int codec_silence(const AudioCodec* codec, int samples, uint8_t* out, int capacity) noexcept nogil:
    return opus_silence(codec.rate_hz, samples, out, capacity) if codec.codec_id == CODEC_OPUS else 0


cdef void codec_restart(AudioCodec* codec) noexcept nogil:
    if codec.codec_id == CODEC_OPUS and codec.sides & ENCODES:
        opus_restart(codec.encoder)


cdef int codec_decode(AudioCodec* codec, const uint8_t* payload, int size, int16_t* out, int capacity) noexcept nogil:
    cdef int samples
    if not codec.sides & DECODES:
        return -1
    if codec.codec_id == CODEC_OPUS:
        return opus_decode_frame(codec.decoder, payload, size, out, capacity)
    samples = codec_samples(codec, payload, size)
    if samples < 0 or samples > capacity:
        return -1
    if codec.codec_id == CODEC_PCMU:
        g711_decode_mu(payload, samples, out)
    elif codec.codec_id == CODEC_PCMA:
        g711_decode_a(payload, samples, out)
    elif codec.codec_id == CODEC_G722:
        g722_decode(<G722Decoder*>codec.decoder, payload, size, out)
    elif codec.codec_id == CODEC_L16:
        l16_decode(payload, samples, out)
    elif codec.codec_id == CODEC_CN:
        return comfort_read(<ComfortNoise*>codec.decoder, payload, size)
    return samples


cdef int codec_samples(const AudioCodec* codec, const uint8_t* payload, int size) noexcept nogil:
    if size <= 0:
        return -1
    if codec.codec_id == CODEC_PCMU or codec.codec_id == CODEC_PCMA:
        return size
    if codec.codec_id == CODEC_G722:
        return 2 * size
    if codec.codec_id == CODEC_OPUS:
        return opus_samples(payload, size, codec.rate_hz)
    if codec.codec_id == CODEC_L16:
        return size // 2 if size % 2 == 0 else -1
    if codec.codec_id == CODEC_CN:
        return 0
    return -1


cdef int codec_conceal(AudioCodec* codec, int16_t* out, int samples) noexcept nogil:
    if samples <= 0 or not codec.sides & DECODES:
        return -1
    if codec.codec_id == CODEC_OPUS:
        return opus_conceal(codec.decoder, out, samples)
    if codec.codec_id == CODEC_CN:
        comfort_fill(<ComfortNoise*>codec.decoder, out, samples)
        return samples
    return -1


cdef bint codec_learns(const AudioCodec* codec) noexcept nogil:
    return codec.codec_id == CODEC_G722 and codec.sides & DECODES


cdef void codec_follow(AudioCodec* codec, const int16_t* pcm, int samples) noexcept nogil:
    if codec_learns(codec):
        g722_follow(<G722Decoder*>codec.decoder, pcm, samples & ~1)


cdef int codec_decode_fec(AudioCodec* codec, const uint8_t* payload, int size, int16_t* out,
                          int samples) noexcept nogil:
    if codec.codec_id == CODEC_OPUS and codec.sides & DECODES:
        return opus_decode_lost(codec.decoder, payload, size, out, samples)
    return -1


cdef int codec_has_fec(int codec_id, const uint8_t* payload, int size) noexcept nogil:
    return opus_has_fec(payload, size) if codec_id == CODEC_OPUS else 0


cdef void codec_set_loss(AudioCodec* codec, int packet_loss_percent) noexcept nogil:
    if codec.codec_id == CODEC_OPUS and codec.sides & ENCODES:
        opus_set_loss(codec.encoder, packet_loss_percent)


cdef void codec_set_band(AudioCodec* codec, int rate_hz) noexcept nogil:
    if codec.codec_id == CODEC_OPUS and codec.sides & ENCODES:
        opus_set_band(codec.encoder, rate_hz)


CODEC_IDS = {
    "PCMU": CODEC_PCMU,
    "PCMA": CODEC_PCMA,
    "G722": CODEC_G722,
    "opus": CODEC_OPUS,
    "L16": CODEC_L16,
    "CN": CODEC_CN,
    "telephone-event": CODEC_TELEPHONE_EVENT,
}
_ID_BY_LOWER_NAME = {name.lower(): number for name, number in CODEC_IDS.items()}


cdef class Codec:
    """One encoder and one decoder with their state; see audio.pyi for the contract."""

    cdef AudioCodec codec
    cdef readonly str name

    def __cinit__(self, name, *, int rate_hz=0, int clock_hz=0, int bitrate_bps=0, int complexity=9, bint fec=False,
                  bint dtx=False, int packet_loss_percent=0, bint encoder=True, bint decoder=True):
        cdef CodecConfig config
        config.codec_id = _ID_BY_LOWER_NAME.get(str(name).lower(), CODEC_NONE)
        config.rate_hz = rate_hz
        config.clock_hz = clock_hz
        config.bitrate_bps = bitrate_bps
        config.complexity = complexity
        config.fec = fec
        config.dtx = dtx
        config.packet_loss_percent = packet_loss_percent
        self.name = str(name)
        if open_sides(&self.codec, &config, (ENCODES if encoder else 0) | (DECODES if decoder else 0)) != 0:
            raise ValueError(
                f"codec {name!s} cannot be opened with rate_hz={rate_hz}, clock_hz={clock_hz}, "
                f"bitrate_bps={bitrate_bps}, complexity={complexity}, packet_loss_percent={packet_loss_percent}"
            )

    def __dealloc__(self):
        codec_close(&self.codec)

    @property
    def rate_hz(self):
        return self.codec.rate_hz

    @property
    def clock_hz(self):
        return self.codec.clock_hz

    def encode(self, const int16_t[::1] pcm not None):
        cdef int samples = <int>pcm.shape[0]
        cdef bytearray out = bytearray(max(2 * samples, 4000))   # 4000: libopus' advice for any frame
        cdef unsigned char[::1] view = out
        if samples == 0:
            raise ValueError("encode: no samples")
        cdef int size = codec_encode(&self.codec, &pcm[0], samples, &view[0], <int>view.shape[0])
        if size < 0:
            raise ValueError(f"encode: {self.name} at {self.codec.rate_hz} Hz has no frame of {samples} samples")
        return bytes(out[:size])

    def samples(self, const unsigned char[::1] payload not None):
        if payload.shape[0] == 0:
            raise ValueError(f"samples: empty {self.name} payload")
        cdef int samples = codec_samples(&self.codec, &payload[0], <int>payload.shape[0])
        if samples < 0:
            raise ValueError(f"samples: malformed {self.name} payload of {payload.shape[0]} bytes")
        return samples

    def decode(self, const unsigned char[::1] payload not None):
        out = np.empty(self.samples(payload), np.int16)
        cdef int16_t[::1] view = out
        cdef int16_t nothing = 0
        cdef int done = codec_decode(&self.codec, &payload[0], <int>payload.shape[0],
                                     &view[0] if view.shape[0] else &nothing, <int>view.shape[0])
        if done < 0:
            raise ValueError(f"decode: undecodable {self.name} payload of {payload.shape[0]} bytes")
        return out[:done]

    def decode_batch(self, payloads):
        cdef int64_t at = 0
        cdef int64_t capacity = 0
        cdef Py_ssize_t i
        cdef int done
        cdef const unsigned char[::1] payload
        cdef list views = [memoryview(p) for p in payloads]
        counts = np.zeros(len(views), np.int64)
        cdef int64_t[::1] count = counts
        for i in range(len(views)):
            payload = views[i]
            if payload.shape[0]:
                count[i] = max(0, codec_samples(&self.codec, &payload[0], <int>payload.shape[0]))
                capacity += count[i]
        out = np.empty(capacity + 1, np.int16)
        cdef int16_t[::1] view = out
        for i in range(len(views)):
            payload = views[i]
            if payload.shape[0] == 0:
                continue
            done = codec_decode(&self.codec, &payload[0], <int>payload.shape[0], &view[at], <int>count[i])
            count[i] = done if done > 0 else 0
            at += count[i]
        return out[:at], counts

    def conceal(self, int samples):
        if not 0 < samples <= CONCEAL_SAMPLES_MAX:
            raise ValueError(f"conceal: {samples} samples; 1..{<int>CONCEAL_SAMPLES_MAX} are possible")
        out = np.empty(samples, np.int16)
        cdef int16_t[::1] view = out
        return out if codec_conceal(&self.codec, &view[0], samples) == samples else None

    def follow(self, const int16_t[::1] pcm not None):
        cdef int samples = <int>pcm.shape[0] - CODEC_AHEAD_MAX
        if samples < 2 or samples & 1:
            raise ValueError(f"follow: {pcm.shape[0]} samples; an even number and {<int>CODEC_AHEAD_MAX} are needed")
        codec_follow(&self.codec, &pcm[0], samples)

    def decode_fec(self, const unsigned char[::1] payload not None, int samples):
        if not 0 < samples <= CONCEAL_SAMPLES_MAX:
            raise ValueError(f"decode_fec: {samples} samples; 1..{<int>CONCEAL_SAMPLES_MAX} are possible")
        if payload.shape[0] == 0:
            return None
        out = np.empty(samples, np.int16)
        cdef int16_t[::1] view = out
        cdef int done = codec_decode_fec(&self.codec, &payload[0], <int>payload.shape[0], &view[0], samples)
        return out[:done] if done > 0 else None

    def silence(self, int samples):
        cdef uint8_t out[8]
        cdef int size = codec_silence(&self.codec, samples, out, sizeof(out))
        return <bytes>out[:size] if size > 0 else None

    def restart(self):
        codec_restart(&self.codec)

    def take_encoder(self, Codec source not None):
        if codec_copy_encoder(&self.codec, &source.codec) != 0:
            raise ValueError(
                f"take_encoder: {source.name} at {source.rate_hz} Hz is not {self.name} at {self.rate_hz} Hz, "
                "or one of them has no encoder"
            )

    def set_band(self, int rate_hz):
        codec_set_band(&self.codec, rate_hz)

    def set_loss(self, int packet_loss_percent):
        codec_set_loss(&self.codec, packet_loss_percent)
