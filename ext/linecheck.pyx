"""What is wrong with a line, heard in what its party says: mains hum, and the echo of what it is sent.

Hum is a tone of 50 or 60 Hz or a harmonic that stands still: narrower than anything a voice does, in five seconds in a
row, at the same level. Echo is what was said by others and comes back: the amplitude of 5 ms blocks said, correlated
with that of blocks sent up to half a second before, over some ten seconds in which something was sent. Neither looks at
what is said, and a clean line costs some 2 us for 20 ms.
"""

from libc.math cimport M_PI, cos, fabsf, log10f, sqrtf

cdef enum:
    HUM_RATE = 2000                    # after averaging: harmonics up to 180 Hz are all that is asked
    HUM_SECONDS = 5
    HUM_KEPT_SECONDS = 20
    BLOCKS = 4                         # of 5 ms, in 20 ms
    ECHO_SILENT_BLOCKS = 100           # after half a second of silence nothing can come back

cdef float HUM_LEVEL_DBOV = -60        # softer hum is heard by nobody
cdef float HUM_NARROW = 10             # a harmonic's power over its neighbours'
cdef float HUM_STEADY_DB = 2
cdef float ECHO_FADE = 0.9995          # a block: ten seconds
cdef float ECHO_WEIGHT = 800           # four seconds at least
cdef float ECHO_CORRELATION = 0.7
cdef float ECHO_AUDIBLE = 0.002        # -54 dBov of what was sent

cdef float wave[HUM_RATE]
cdef int tones[LINE_TONES]
tones[:] = [50, 46, 54, 100, 96, 104, 150, 146, 154, 60, 56, 64, 120, 116, 124, 180, 176, 184]

cdef int each
for each in range(HUM_RATE):
    wave[each] = cos(2 * M_PI * each / HUM_RATE)


cdef float power_of(const LineCheck* s, int i) noexcept nogil:
    return s.tone_re[i] * s.tone_re[i] + s.tone_im[i] * s.tone_im[i]


cdef void judge_hum(LineCheck* s, int mains) noexcept nogil:
    """At the end of a second. mains: 0 for 50 Hz, 1 for 60 Hz."""
    cdef float tone
    cdef float total = 0
    cdef float level
    cdef int k
    for k in range(9 * mains, 9 * mains + 9, 3):
        tone = power_of(s, k)
        if tone > HUM_NARROW * (power_of(s, k + 1) + power_of(s, k + 2)) / 2:
            total += tone
    # The sum over a second of a sine of amplitude 1, under a Hann window, is a quarter of the number of samples.
    level = 10 * log10f(total / (HUM_RATE / 4.0) ** 2 / 2 + 1e-12)
    if level < HUM_LEVEL_DBOV:
        s.steady[mains] = 0
    elif s.steady[mains] and fabsf(level - s.level_dbov[mains]) > HUM_STEADY_DB:
        s.steady[mains] = 1
    else:
        s.steady[mains] += 1
    s.level_dbov[mains] = level


cdef void end_second(LineCheck* s) noexcept nogil:
    cdef int i
    judge_hum(s, 0)
    judge_hum(s, 1)
    if s.steady[0] >= HUM_SECONDS or s.steady[1] >= HUM_SECONDS:
        s.hum_hz = 50 if s.steady[0] >= s.steady[1] else 60
        s.hum_dbov = s.level_dbov[0 if s.hum_hz == 50 else 1]
        s.hum_left = HUM_KEPT_SECONDS
    elif s.hum_left > 0:
        s.hum_left -= 1
    else:
        s.hum_hz = 0
    s.at = 0
    for i in range(LINE_TONES):
        s.tone_re[i] = s.tone_im[i] = 0


cdef void listen_for_hum(LineCheck* s, const int16_t* pcm, int samples) noexcept nogil:
    cdef int each = samples // 40
    cdef float value
    cdef int phase
    cdef int i, k, n
    for n in range(40):
        value = 0
        for k in range(each):
            value += pcm[n * each + k]
        value *= (0.5 - 0.5 * wave[s.at]) / (32768.0 * each)
        for i in range(LINE_TONES):
            phase = tones[i] * s.at % HUM_RATE
            s.tone_re[i] += value * wave[phase]
            s.tone_im[i] += value * wave[(phase + HUM_RATE - HUM_RATE // 4) % HUM_RATE]
        s.at += 1
        if s.at == HUM_RATE:
            end_second(s)


cdef float amplitude(const int16_t* pcm, int samples) noexcept nogil:
    cdef float total = 0
    cdef int i
    for i in range(samples):
        total += <float>pcm[i] * pcm[i]
    return sqrtf(total / samples) / 32768


cdef void note_block(LineCheck* s, float said, int block) noexcept nogil:
    """A block of what was said, against those sent before it."""
    cdef float sent
    cdef int lag
    s.weight = s.weight * ECHO_FADE + 1
    s.said_sum = s.said_sum * ECHO_FADE + said
    s.said_squares = s.said_squares * ECHO_FADE + said * said
    for lag in range(ECHO_LAGS):
        # What is sent within this tick is not known yet: it cannot come back in it either.
        sent = s.sent[(s.newest + block - lag + ECHO_BLOCKS) % ECHO_BLOCKS] if lag >= block else 0
        s.sent_sum[lag] = s.sent_sum[lag] * ECHO_FADE + sent
        s.sent_squares[lag] = s.sent_squares[lag] * ECHO_FADE + sent * sent
        s.products[lag] = s.products[lag] * ECHO_FADE + sent * said


cdef void judge_echo(LineCheck* s) noexcept nogil:
    cdef float best = ECHO_CORRELATION
    cdef float mean = s.said_sum / s.weight
    cdef float spread = s.said_squares / s.weight - mean * mean
    cdef float sent_mean, sent_spread, together, found
    cdef int lag
    s.echo_ms = 0
    if s.weight < ECHO_WEIGHT or spread < 1e-9:
        return
    for lag in range(ECHO_LAGS):
        sent_mean = s.sent_sum[lag] / s.weight
        sent_spread = s.sent_squares[lag] / s.weight - sent_mean * sent_mean
        together = s.products[lag] / s.weight - mean * sent_mean
        if together <= 0 or sent_spread < 1e-9:
            continue
        found = together / sqrtf(spread * sent_spread)
        if found > best:
            best = found
            s.echo_ms = 5 * (lag + 1)
            s.echo_loss_db = -20 * log10f(together / sent_spread)


cdef void linecheck_said(LineCheck* s, const int16_t* pcm, int samples) noexcept nogil:
    cdef int part = samples // BLOCKS
    cdef int block
    listen_for_hum(s, pcm, samples)
    if not s.told:
        linecheck_sent(s, NULL, samples)               # nothing was sent in the tick before
    s.told = 0
    if s.silent_blocks >= ECHO_SILENT_BLOCKS:
        return
    for block in range(BLOCKS):
        note_block(s, amplitude(pcm + block * part, part), block)
    if s.at % (HUM_RATE // 2) == 0:
        judge_echo(s)


cdef void linecheck_sent(LineCheck* s, const int16_t* pcm, int samples) noexcept nogil:
    cdef int part = samples // BLOCKS
    cdef int block
    cdef float sent
    for block in range(BLOCKS):
        sent = amplitude(pcm + block * part, part) if pcm is not NULL else 0
        s.newest = (s.newest + 1) % ECHO_BLOCKS
        s.sent[s.newest] = sent
        s.silent_blocks = 0 if sent >= ECHO_AUDIBLE else s.silent_blocks + 1
    s.told = 1


# --- for tests and benchmarks

cdef class LineCheckRun:
    """One line, 20 ms at a time: first what the party said, then what it is sent."""

    cdef LineCheck state

    def said(self, const int16_t[::1] pcm not None):
        linecheck_said(&self.state, &pcm[0], <int>pcm.shape[0])

    def sent(self, const int16_t[::1] pcm not None):
        linecheck_sent(&self.state, &pcm[0], <int>pcm.shape[0])

    @property
    def hum_hz(self):
        return self.state.hum_hz

    @property
    def hum_dbov(self):
        return self.state.hum_dbov

    @property
    def echo_ms(self):
        return self.state.echo_ms

    @property
    def echo_loss_db(self):
        return self.state.echo_loss_db
