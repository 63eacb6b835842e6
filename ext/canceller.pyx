"""Cancelling of the echo of what a party is sent, where it comes back: late, through codecs and two jitter buffers.

Both sounds are cut into hops of 10 ms under the root of a Hann window and transformed. Three parts work on the spectra:

The delay is that of ext/echo_delay; nothing is done before one is found.

The filter: in each bin the echo is a sum of what was sent in six hops around that delay, each times a complex factor.
They are the state of a Kalman filter (Enzner and Vary, "Frequency-domain adaptive Kalman filter for acoustic echo
control in hands-free telephones", 2006; there on partitioned blocks, here in the bins, so that a delay that slides by a
part of a hop is learned anew in a moment). What is said there itself is its noise: it learns slowly while both speak.

What is left over: power that follows the echo that was taken out, and what the filter's variance says; turned down by
Wiener's gain with decision-directed SNR (Ephraim and Malah 1984), by 20 dB at the most.

Measured in docs/quality.md; the definition in float64 is tests/support/canceller_reference.py.
"""

from libc.math cimport M_PI, log10f, sin, sqrtf
from libc.string cimport memcpy, memset
from mediaserver.ext.echo_delay cimport echo_delay_init, echo_delay_place, echo_delay_said, echo_delay_sent
from mediaserver.ext.spectrum cimport SPECTRUM_BINS_MAX, SPECTRUM_MAX, spectrum_forward, spectrum_inverse

import numpy as np

cdef enum:
    LEAD = 2                           # taps before the delay found
    SPOKESMEN = 32                     # bins that say what is done above the last

cdef float VARIANCE_FIRST = 0.1
cdef float VARIANCE_AGAIN = 0.03       # after another delay, or a wrong filter
cdef float VARIANCE_MIN = 1e-9
cdef float STATE_KEPT = 0.999          # a hop: rooms and clocks change
cdef float VARIANCE_LEARNED = 0.5
cdef float NEAR_SMOOTH = 0.3
cdef float NEAR_FIRST = 1e4
cdef float POWER_MIN = 100             # of a bin: the rounding of 16 bits and of a codec
cdef float WORSE = 1.5                 # more power after the filter than before: it is wrong
cdef float WORSE_POWER_MIN = 1e4       # a bin
cdef float FOLLOW_SMOOTH = 0.05
cdef float RESIDUE_FADE = 0.5          # a hop: a room goes on after the taps end
cdef float GAIN_MIN = 0.1
cdef float PRIOR_SMOOTH = 0.9
cdef float COUNT_SMOOTH = 0.01


cdef void canceller_init(Canceller* s, int rate_hz) noexcept nogil:
    cdef int i, k
    memset(s, 0, sizeof(Canceller))
    s.hop = rate_hz // 100
    s.size = 256
    while s.size < 2 * s.hop:
        s.size *= 2
    s.bins = min(s.size // 2 + 1, <int>CANCEL_BINS)
    for i in range(2 * s.hop):         # before and after: they sum to one
        s.window[i] = sin(M_PI * (i + 0.5) / (2 * s.hop))
    echo_delay_init(&s.delay, rate_hz, s.size)
    for k in range(CANCEL_BINS):
        s.near[k] = NEAR_FIRST
        s.gain[k] = 1
        for i in range(CANCEL_TAPS):
            s.variance[i][k] = VARIANCE_FIRST


cdef void analyse(Canceller* s, float* before, const float* hop, float* re, float* im) noexcept nogil:
    """The spectrum of the hop before and this one: re, im[size // 2 + 1]."""
    cdef float data[SPECTRUM_MAX]
    cdef int i
    for i in range(s.hop):
        data[i] = before[i] * s.window[i]
        data[s.hop + i] = hop[i] * s.window[s.hop + i]
    memset(data + 2 * s.hop, 0, (SPECTRUM_MAX - 2 * s.hop) * sizeof(float))
    memcpy(before, hop, s.hop * sizeof(float))
    spectrum_forward(data, re, im, s.size)


cdef void trust_less(Canceller* s) noexcept nogil:
    """The room is the same at another delay: the factors stay, and learn faster."""
    cdef int i, k
    for i in range(CANCEL_TAPS):
        for k in range(s.bins):
            if s.variance[i][k] < VARIANCE_AGAIN:
                s.variance[i][k] = VARIANCE_AGAIN


# --- the filter

cdef void predict(Canceller* s, int ahead, float* echo_re, float* echo_im, float* unsure) noexcept nogil:
    """The echo by the factors as they are, and the power by which that may be wrong."""
    cdef const float* xr
    cdef const float* xi
    cdef int i, k, at
    for k in range(s.bins):
        echo_re[k] = echo_im[k] = unsure[k] = 0
    for i in range(CANCEL_TAPS):
        at = echo_delay_place(&s.delay, ahead, s.delay.lag - LEAD + i)
        xr = s.sent_re[at]
        xi = s.sent_im[at]
        for k in range(s.bins):
            echo_re[k] += s.re[i][k] * xr[k] - s.im[i][k] * xi[k]
            echo_im[k] += s.re[i][k] * xi[k] + s.im[i][k] * xr[k]
            unsure[k] += s.variance[i][k] * (xr[k] * xr[k] + xi[k] * xi[k])


cdef void learn(Canceller* s, int ahead, const float* re, const float* im, const float* unsure) noexcept nogil:
    """re, im: what is left, by which the factors were wrong. The covariance between taps is left out."""
    cdef float over[CANCEL_BINS]
    cdef const float* xr
    cdef const float* xi
    cdef float part, power, variance
    cdef int i, k, at
    for k in range(s.bins):
        over[k] = 1 / (unsure[k] + s.near[k] + POWER_MIN)
    for i in range(CANCEL_TAPS):
        at = echo_delay_place(&s.delay, ahead, s.delay.lag - LEAD + i)
        xr = s.sent_re[at]
        xi = s.sent_im[at]
        for k in range(s.bins):
            variance = s.variance[i][k]
            part = variance * over[k]
            power = xr[k] * xr[k] + xi[k] * xi[k]
            s.re[i][k] += part * (xr[k] * re[k] + xi[k] * im[k])
            s.im[i][k] += part * (xr[k] * im[k] - xi[k] * re[k])
            variance = (STATE_KEPT * STATE_KEPT * (1 - VARIANCE_LEARNED * part * power) * variance
                        + (1 - STATE_KEPT * STATE_KEPT) * (s.re[i][k] * s.re[i][k] + s.im[i][k] * s.im[i][k]))
            s.variance[i][k] = variance if variance > VARIANCE_MIN else VARIANCE_MIN


cdef void start_again(Canceller* s) noexcept nogil:
    cdef int i, k
    s.restarts += 1
    s.power_left = s.power_said
    memset(s.re, 0, sizeof(s.re))
    memset(s.im, 0, sizeof(s.im))
    for i in range(CANCEL_TAPS):
        for k in range(s.bins):
            s.variance[i][k] = VARIANCE_AGAIN


# --- what is left over

cdef void follow(Canceller* s, const float* left, const float* model) noexcept nogil:
    """How the power that is left follows that of the echo that was taken out: what somebody else says does not."""
    cdef float a, b
    cdef int k
    for k in range(s.bins):
        s.left_mean[k] += FOLLOW_SMOOTH * (left[k] - s.left_mean[k])
        s.model_mean[k] += FOLLOW_SMOOTH * (model[k] - s.model_mean[k])
        a = left[k] - s.left_mean[k]
        b = model[k] - s.model_mean[k]
        s.together[k] += FOLLOW_SMOOTH * (a * b - s.together[k])
        s.spread[k] += FOLLOW_SMOOTH * (b * b - s.spread[k])


cdef void turn_down(Canceller* s, const float* left, const float* model, const float* unsure) noexcept nogil:
    """Sets the gain of each bin."""
    cdef float share, residue, prior, after
    cdef int k
    for k in range(s.bins):
        share = s.together[k] / (s.spread[k] + 1e3)
        share = share if share > 0 else 0
        share = share if share < 1 else 1
        residue = unsure[k] + share * model[k]
        prior = RESIDUE_FADE * s.residue[k]
        residue = residue if residue > prior else prior
        residue = residue if residue > 1 else 1
        s.residue[k] = residue
        after = left[k] / residue - 1
        after = after if after > 0 else 0
        prior = PRIOR_SMOOTH * s.gain[k] * s.gain[k] * s.before[k] / residue + (1 - PRIOR_SMOOTH) * after
        prior = prior / (1 + prior)
        s.gain[k] = prior if prior > GAIN_MIN else GAIN_MIN
        s.before[k] = left[k]


cdef void apply_gain(Canceller* s, float* re, float* im, const float* said) noexcept nogil:
    """said: power before the filter; bins above the last get what the last ones got together."""
    cdef float before = 1
    cdef float after = 1
    cdef float gain
    cdef int k
    for k in range(s.bins):
        re[k] *= s.gain[k]
        im[k] *= s.gain[k]
    if s.bins > s.size // 2:
        return
    for k in range(s.bins - SPOKESMEN, s.bins):
        before += said[k]
        after += re[k] * re[k] + im[k] * im[k]
    gain = sqrtf(after / before)
    if gain < 1:
        for k in range(s.bins, s.size // 2 + 1):
            re[k] *= gain
            im[k] *= gain


cdef void count(Canceller* s, const float* re, const float* im, const float* said) noexcept nogil:
    cdef float power_in = 0
    cdef float power_out = 0
    cdef int k
    for k in range(s.bins):
        power_in += said[k]
        power_out += re[k] * re[k] + im[k] * im[k]
    s.power_in += COUNT_SMOOTH * (power_in - s.power_in)
    s.power_out += COUNT_SMOOTH * (power_out - s.power_out)


cdef void cancel(Canceller* s, int ahead, float* re, float* im) noexcept nogil:
    """re, im: the spectrum of what was said, in place. sent_loud: something could come back of it."""
    cdef float echo_re[CANCEL_BINS]
    cdef float echo_im[CANCEL_BINS]
    cdef float unsure[CANCEL_BINS]
    cdef float said[CANCEL_BINS]
    cdef float left[CANCEL_BINS]
    cdef float model[CANCEL_BINS]
    cdef float power_said = 0
    cdef float power_left = 0
    cdef float power_model = 0
    cdef bint loud = 0
    cdef int k
    for k in range(CANCEL_TAPS):
        loud |= s.delay.sent_loud[echo_delay_place(&s.delay, ahead, s.delay.lag - LEAD + k)] != 0
    predict(s, ahead, echo_re, echo_im, unsure)
    for k in range(s.bins):
        said[k] = re[k] * re[k] + im[k] * im[k]
        re[k] -= echo_re[k]
        im[k] -= echo_im[k]
        left[k] = re[k] * re[k] + im[k] * im[k]
        model[k] = echo_re[k] * echo_re[k] + echo_im[k] * echo_im[k]
        s.near[k] += NEAR_SMOOTH * (left[k] - s.near[k])
        power_said += said[k]
        power_left += left[k]
        power_model += model[k]
    s.power_said += 0.1 * (power_said - s.power_said)
    s.power_left += 0.1 * (power_left - s.power_left)
    if loud:
        learn(s, ahead, re, im, unsure)
        follow(s, left, model)
    if s.power_left > WORSE * s.power_said and s.power_said > WORSE_POWER_MIN * s.bins:
        start_again(s)
    turn_down(s, left, model, unsure)
    apply_gain(s, re, im, said)
    if loud and power_model > power_said / 2:
        count(s, re, im, said)


cdef void said_hop(Canceller* s, int ahead, int16_t* pcm) noexcept nogil:
    cdef float data[SPECTRUM_MAX]
    cdef float re[SPECTRUM_BINS_MAX]
    cdef float im[SPECTRUM_BINS_MAX]
    cdef float value
    cdef int i
    for i in range(s.hop):
        data[i] = pcm[i]
    analyse(s, s.said_before, data, re, im)
    if echo_delay_said(&s.delay, ahead, re, im):
        trust_less(s)
    if s.delay.lag:
        cancel(s, ahead, re, im)
    spectrum_inverse(re, im, data, s.size)
    for i in range(s.hop):
        value = s.overlap[i] + data[i] * s.window[i]
        value += 0.5 if value >= 0 else -0.5
        pcm[i] = <int16_t>(32767 if value > 32767 else (-32768 if value < -32768 else value))
        s.overlap[i] = data[s.hop + i] * s.window[s.hop + i]


cdef void canceller_said(Canceller* s, int16_t* pcm, int samples) noexcept nogil:
    if samples != 2 * s.hop:
        return
    if not s.told:
        canceller_sent(s, NULL, samples)               # nothing was sent in the tick before
    s.told = 0
    said_hop(s, 0, pcm)
    said_hop(s, 1, pcm + s.hop)


# --- what is sent

cdef void to_rate(const int16_t* pcm, int samples, float* out, int wanted) noexcept nogil:
    """A prompt at another rate: means of what falls together, straight lines between what is apart."""
    cdef int each, i, k
    cdef float value, after
    if samples >= wanted:
        each = samples // wanted
        for i in range(wanted):
            value = 0
            for k in range(each):
                value += pcm[i * each + k]
            out[i] = value / each
        return
    each = wanted // samples
    for i in range(samples):
        value = pcm[i]
        after = pcm[i + 1] if i + 1 < samples else value
        for k in range(each):
            out[i * each + k] = value + (after - value) * k / each


cdef void canceller_sent(Canceller* s, const int16_t* pcm, int samples) noexcept nogil:
    cdef float data[2 * CANCEL_HOP_MAX]
    cdef float re[SPECTRUM_BINS_MAX]
    cdef float im[SPECTRUM_BINS_MAX]
    cdef int half
    if pcm is NULL:
        memset(data, 0, sizeof(data))
    else:
        to_rate(pcm, samples, data, 2 * s.hop)
    for half in range(2):
        analyse(s, s.sent_before, data + half * s.hop, re, im)
        echo_delay_sent(&s.delay, re, im)
        memcpy(s.sent_re[s.delay.newest], re, s.bins * sizeof(float))
        memcpy(s.sent_im[s.delay.newest], im, s.bins * sizeof(float))
    s.told = 1


cdef float canceller_removed_db(const Canceller* s) noexcept nogil:
    if not s.delay.lag or s.power_in < 1:
        return 0
    return 10 * log10f(s.power_in / (s.power_out + 1))


cdef int canceller_delay_ms(const Canceller* s) noexcept nogil:
    return 10 * s.delay.lag


# --- for tests and benchmarks

cdef class CancellerRun:
    """One canceller, 20 ms at a time: first what the party said, then what it is sent."""

    cdef Canceller state

    def __cinit__(self, int rate_hz):
        canceller_init(&self.state, rate_hz)

    def said(self, const int16_t[::1] pcm not None):
        out = np.array(pcm, np.int16)
        cdef int16_t[::1] view = out
        canceller_said(&self.state, &view[0], <int>view.shape[0])
        return out

    def sent(self, pcm):
        cdef const int16_t[::1] view
        if pcm is None:
            canceller_sent(&self.state, NULL, 0)
        else:
            view = pcm
            canceller_sent(&self.state, &view[0], <int>view.shape[0])

    @property
    def delay_ms(self):
        return canceller_delay_ms(&self.state)

    @property
    def removed_db(self):
        return canceller_removed_db(&self.state)

    @property
    def locks(self):
        return self.state.delay.found

    @property
    def restarts(self):
        return self.state.restarts
