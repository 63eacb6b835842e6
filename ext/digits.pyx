"""Keys a party presses, heard as RFC 4733 events or as tones, each press once.

Owns no policy about who listens: whether a leg's audio is searched is settled when its stream is negotiated.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memset
from mediaserver.codecs.resample cimport resampler_free, resampler_init, resampler_step
from mediaserver.ext.dtmf cimport (
    DTMF_RTP_EVENT,
    dtmf_detector_init,
    dtmf_detector_step,
    dtmf_merger_init,
    dtmf_merger_step,
    event_receiver_close,
    event_receiver_init,
    event_receiver_step,
)

cdef enum:
    REST_TICKS = 10                    # of silence: every press has ended and the filters have run empty
    EVENT_GAP_MS = 200                 # packets of a press come every 50 ms at the slowest: four lost in a row end it


cdef void digits_init(Digits* d) noexcept nogil:
    memset(d, 0, sizeof(Digits))
    event_receiver_init(&d.events)
    dtmf_merger_init(&d.merger)


cdef int digits_merge(Digits* d, int digit, int way, int64_t now_ns) noexcept nogil:
    return dtmf_merger_step(&d.merger, digit, way, now_ns)


cdef void digits_event(Digits* d, const uint8_t* payload, int size, uint32_t timestamp, int64_t now_ns,
                       DigitNews* news) noexcept nogil:
    cdef int ended = 0
    cdef int begun
    memset(news, 0, sizeof(DigitNews))
    begun = event_receiver_step(&d.events, payload, size, timestamp, &ended, &news.duration)
    if begun < 0:
        return
    d.event_ns = now_ns
    news.released = ended
    if ended:
        d.event_open = 0
    if begun > 0:
        d.event_open = ended != begun
        if digits_merge(d, begun, DTMF_RTP_EVENT, now_ns):
            news.pressed = begun


cdef void digits_expire(Digits* d, int64_t now_ns, DigitNews* news) noexcept nogil:
    memset(news, 0, sizeof(DigitNews))
    if d.event_open and now_ns - d.event_ns > <int64_t>EVENT_GAP_MS * 1000000:
        d.event_open = 0
        news.released = event_receiver_close(&d.events, &news.duration)


cdef ToneEar* ear_new() noexcept nogil:
    cdef ToneEar* ear = <ToneEar*>calloc(1, sizeof(ToneEar))
    if ear is NULL:
        return NULL
    dtmf_detector_init(&ear.detector)
    if resampler_init(&ear.down[0], 16000, 8000) < 0 or resampler_init(&ear.down[1], 48000, 8000) < 0:
        ear_free(ear)
        return NULL
    return ear


cdef void ear_free(ToneEar* ear) noexcept nogil:
    if ear is not NULL:
        resampler_free(&ear.down[0])
        resampler_free(&ear.down[1])
        free(ear)


cdef int ear_step(ToneEar* ear, const int16_t* pcm, int samples, int rate_hz, bint silent) noexcept nogil:
    cdef int16_t narrow[160]
    if not silent:
        ear.silent_ticks = 0
    elif ear.silent_ticks == REST_TICKS:
        return 0
    else:
        ear.silent_ticks += 1
    if rate_hz == 8000:
        return dtmf_detector_step(&ear.detector, pcm, samples)
    samples = resampler_step(&ear.down[0 if rate_hz == 16000 else 1], pcm, samples, narrow)
    return dtmf_detector_step(&ear.detector, narrow, samples)
