# Which codec each payload type of one leg is, and their decoders, opened when first needed.
from libc.stdint cimport int8_t, int16_t, int32_t
from mediaserver.codecs.audio cimport AudioCodec, CodecConfig
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.plc cimport Plc

cdef enum:
    RECEIVERS_MAX = 8              # payload types of one leg

cdef struct Receiver:
    int32_t opened                 # 1; -1: tried and not possible
    CodecConfig config
    AudioCodec codec

cdef struct ReceiverSet:
    int8_t index[128]              # by payload type; -1: none
    Receiver receivers[RECEIVERS_MAX]

cdef void receivers_init(ReceiverSet* s) noexcept nogil
# 0, or -1: no room for another, or no audio codec. Said again unchanged, a decoder keeps its state.
cdef int receivers_set(ReceiverSet* s, int payload_type, const CodecConfig* config) noexcept nogil
cdef void receivers_clear(ReceiverSet* s) noexcept nogil
# The receiver for a payload type, opened (decoder allocated) at rate_hz where its codec leaves the choice; NULL: none.
cdef Receiver* receivers_open(ReceiverSet* s, int payload_type, int rate_hz) noexcept nogil
# The opened receiver of a packet; NULL: none (its payload type was taken away).
cdef Receiver* receivers_find(ReceiverSet* s, const Packet* packet) noexcept nogil
# Decoders that work at any rate shall be opened again at this higher one.
cdef void receivers_raise(ReceiverSet* s, int rate_hz) noexcept nogil
# A decoder whose state comes from what it decodes takes end[0..samples) for what was lost; `plc` says how that goes on.
# Room for CODEC_AHEAD_MAX more behind. Others: nothing.
cdef void receiver_follow(Receiver* receiver, Plc plc, int16_t* end, int samples) noexcept nogil
# The same with the voice before `end` going on for `samples`, which are written there.
cdef void receiver_suppose(Receiver* receiver, Plc plc, int16_t* end, int samples) noexcept nogil
