# One shape for all audio codecs, so that the worker never asks which codec it holds.
# PCM is int16 mono at `rate_hz`. Every function below is called on the hot path: no GIL, no allocation.
from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t

cdef enum CodecId:
    CODEC_NONE = 0
    CODEC_PCMU = 1
    CODEC_PCMA = 2
    CODEC_G722 = 3
    CODEC_OPUS = 4
    CODEC_L16 = 5
    CODEC_CN = 6
    CODEC_TELEPHONE_EVENT = 7

cdef enum:
    CODEC_AHEAD_MAX = 22       # samples codec_follow reads beyond

cdef struct CodecConfig:
    int32_t codec_id
    int32_t rate_hz            # PCM rate wanted; 0: the codec's own (PCMU/PCMA 8000, G.722 16000, Opus 48000)
    int32_t clock_hz           # RTP clock of the payload type
    int32_t bitrate_bps        # Opus encoder; 0: default
    int32_t complexity         # Opus encoder, 0..10
    int32_t fec                # Opus encoder: in-band FEC on
    int32_t dtx                # Opus encoder: discontinuous transmission on
    int32_t packet_loss_percent  # Opus encoder: what FEC is sized for

cdef struct AudioCodec:
    int32_t codec_id
    int32_t rate_hz            # of the PCM side, both ways
    int32_t clock_hz           # of the RTP side
    int32_t sides              # 1: encoder, 2: decoder
    void* encoder              # codec's own state, made by codec_open only
    void* decoder

# Makes encoder and decoder state. Allocates: control path only. 0, or -1 if the configuration is not possible.
cdef int codec_open(AudioCodec* codec, const CodecConfig* config) noexcept nogil
# The same with one side only: what only receives carries no encoder, what only sends no decoder. The other side's calls
# then answer -1.
cdef int codec_open_decoder(AudioCodec* codec, const CodecConfig* config) noexcept nogil
cdef int codec_open_encoder(AudioCodec* codec, const CodecConfig* config) noexcept nogil
cdef void codec_close(AudioCodec* codec) noexcept nogil
# pcm[samples] -> out[capacity]; returns bytes, 0: nothing to send (DTX), -1: samples or capacity not possible.
cdef int codec_encode(AudioCodec* codec, const int16_t* pcm, int samples, uint8_t* out, int capacity) noexcept nogil
# A payload of `samples` that decodes to silence whatever came before, without encoding; bytes, or 0: the codec has none
# that is worth it. codec_restart is due before the encoder is used again after it.
cdef int codec_silence(const AudioCodec* codec, int samples, uint8_t* out, int capacity) noexcept nogil
cdef void codec_restart(AudioCodec* codec) noexcept nogil
# payload[size] -> out[capacity]; returns samples at rate_hz (CN: 0, see codec_conceal), -1: it is not decodable.
cdef int codec_decode(AudioCodec* codec, const uint8_t* payload, int size, int16_t* out, int capacity) noexcept nogil
# Copies the encoder's running state between codecs of the same id and rate: who leaves a shared encode goes on without
# a click. No allocation; stateless codecs have nothing to copy. 0, or -1: not the same codec, nothing is changed.
cdef int codec_copy_encoder(AudioCodec* to, const AudioCodec* source) noexcept nogil
# How many samples at rate_hz the payload holds, without decoding; -1: malformed.
cdef int codec_samples(const AudioCodec* codec, const uint8_t* payload, int size) noexcept nogil
# The codec's own concealment of `samples` lost samples; returns samples, or -1: the codec has none, use ext.plc.
# CN: the noise that the last decoded payload described.
cdef int codec_conceal(AudioCodec* codec, int16_t* out, int samples) noexcept nogil
# Whether a decoder's state comes from what it decoded: a lost packet harms what follows. Opus mends that itself.
cdef bint codec_learns(const AudioCodec* codec) noexcept nogil
# pcm[samples] stands in for what was lost: a decoder that learns from what it decodes goes on as though it had been
# sent. Reads pcm[samples..samples + CODEC_AHEAD_MAX) too, how that would go on. Others ignore it.
cdef void codec_follow(AudioCodec* codec, const int16_t* pcm, int samples) noexcept nogil
# Whether `payload` carries the frame before it once more (Opus' LBRR, RFC 6716 4.2.4).
cdef int codec_has_fec(int codec_id, const uint8_t* payload, int size) noexcept nogil
# Rebuilds the frame BEFORE `payload` from its in-band FEC; returns samples, or -1: no FEC inside.
cdef int codec_decode_fec(AudioCodec* codec, const uint8_t* payload, int size, int16_t* out, int samples) noexcept nogil
# The samples that are encoded from now on were made at rate_hz and hold nothing beyond half of it (Opus); others ignore
# it. A narrow band is widened at once only if codec_restart is called with it.
cdef void codec_set_band(AudioCodec* codec, int rate_hz) noexcept nogil
# A change of the wanted loss protection while running (Opus); others ignore it.
cdef void codec_set_loss(AudioCodec* codec, int packet_loss_percent) noexcept nogil
