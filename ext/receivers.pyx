"""The codecs of one receiving leg by payload type.

Owns the decoders. They are opened on the first packet of their payload type: a leg that is only relayed, and the codecs
that were offered and never used, cost nothing.
"""

from libc.stdint cimport int8_t, int16_t
from libc.string cimport memcmp, memset

from mediaserver.codecs.audio cimport (
    CODEC_AHEAD_MAX, CODEC_NONE, CODEC_OPUS, CodecConfig, codec_close, codec_follow, codec_learns, codec_open_decoder,
)
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.plc cimport Plc, plc_extend


cdef void receivers_init(ReceiverSet* s) noexcept nogil:
    memset(s, 0, sizeof(ReceiverSet))
    memset(s.index, -1, sizeof(s.index))


cdef void close_receiver(Receiver* receiver) noexcept nogil:
    if receiver.opened == 1:
        codec_close(&receiver.codec)
    memset(receiver, 0, sizeof(Receiver))


cdef int receivers_set(ReceiverSet* s, int payload_type, const CodecConfig* config) noexcept nogil:
    cdef int i
    if payload_type < 0 or payload_type > 127 or config.codec_id == CODEC_NONE:
        return -1
    i = s.index[payload_type]
    if i >= 0:
        if memcmp(&s.receivers[i].config, config, sizeof(CodecConfig)) == 0:
            return 0
        close_receiver(&s.receivers[i])
    else:
        i = 0
        while i < RECEIVERS_MAX and s.receivers[i].config.codec_id != CODEC_NONE:
            i += 1
        if i == RECEIVERS_MAX:
            return -1
    s.receivers[i].config = config[0]
    s.index[payload_type] = <int8_t> i
    return 0


cdef void receivers_clear(ReceiverSet* s) noexcept nogil:
    cdef int i
    for i in range(RECEIVERS_MAX):
        close_receiver(&s.receivers[i])
    memset(s.index, -1, sizeof(s.index))


cdef void open_at(Receiver* receiver, int rate_hz) noexcept nogil:
    cdef CodecConfig config = receiver.config
    if config.codec_id == CODEC_OPUS and config.rate_hz == 0:
        config.rate_hz = rate_hz
    receiver.opened = 1 if codec_open_decoder(&receiver.codec, &config) == 0 else -1


cdef Receiver* receivers_open(ReceiverSet* s, int payload_type, int rate_hz) noexcept nogil:
    cdef int i = s.index[payload_type & 127]
    cdef Receiver* receiver
    if i < 0:
        return NULL
    receiver = &s.receivers[i]
    if receiver.opened == 0:
        open_at(receiver, rate_hz)
    return receiver if receiver.opened == 1 else NULL


cdef Receiver* receivers_find(ReceiverSet* s, const Packet* packet) noexcept nogil:
    cdef int i
    if packet is NULL:
        return NULL
    i = s.index[packet.payload_type & 127]
    return &s.receivers[i] if i >= 0 and s.receivers[i].opened == 1 else NULL


cdef void receivers_raise(ReceiverSet* s, int rate_hz) noexcept nogil:
    cdef int i
    for i in range(RECEIVERS_MAX):
        if s.receivers[i].opened == 1 and s.receivers[i].config.codec_id == CODEC_OPUS \
                and s.receivers[i].config.rate_hz == 0 and s.receivers[i].codec.rate_hz < rate_hz:
            codec_close(&s.receivers[i].codec)
            open_at(&s.receivers[i], rate_hz)


cdef void receiver_follow(Receiver* receiver, Plc plc, int16_t* end, int samples) noexcept nogil:
    if codec_learns(&receiver.codec):
        plc_extend(&plc, end + samples, CODEC_AHEAD_MAX)
        codec_follow(&receiver.codec, end, samples)


cdef void receiver_suppose(Receiver* receiver, Plc plc, int16_t* end, int samples) noexcept nogil:
    if codec_learns(&receiver.codec):
        plc_extend(&plc, end, samples)
        receiver_follow(receiver, plc, end, samples)
