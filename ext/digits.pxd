# Digits a leg presses: from telephone-events and from its audio, one per press whatever ways it comes by.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from mediaserver.codecs.resample cimport Resampler
from mediaserver.ext.dtmf cimport DtmfDetector, DtmfMerger, EventReceiver

cdef struct ToneEar:                   # only for legs without telephone-event
    DtmfDetector detector
    Resampler down[2]                  # from 16 and 48 kHz to the detector's 8
    int32_t silent_ticks               # since something was last heard, up to REST_TICKS

cdef struct Digits:
    EventReceiver events
    DtmfMerger merger
    int64_t event_ns                   # last event packet
    int32_t event_open                 # a press has begun and not ended

cdef struct DigitNews:                 # what one step brought
    int32_t pressed                    # ASCII: report it; 0: nothing new
    int32_t released                   # ASCII: this press has ended; 0: none
    uint32_t duration                  # of the released one, RTP clock units

cdef void digits_init(Digits* d) noexcept nogil
cdef void digits_event(Digits* d, const uint8_t* payload, int size, uint32_t timestamp, int64_t now_ns,
                       DigitNews* news) noexcept nogil
# Ends a press whose packets have stopped coming.
cdef void digits_expire(Digits* d, int64_t now_ns, DigitNews* news) noexcept nogil
# A digit heard another way (ext/dtmf DtmfWay): 1 when it is a new press.
cdef int digits_merge(Digits* d, int digit, int way, int64_t now_ns) noexcept nogil
# Allocates: control path only.
cdef ToneEar* ear_new() noexcept nogil
cdef void ear_free(ToneEar* ear) noexcept nogil
# pcm[samples] at 8, 16 or 48 kHz, 20 ms; silent: all zero. Returns the digit just confirmed as pressed, else 0.
cdef int ear_step(ToneEar* ear, const int16_t* pcm, int samples, int rate_hz, bint silent) noexcept nogil
