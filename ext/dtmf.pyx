"""DTMF keys: the detector of tones in the audio (ITU-T Q.23, Q.24), and the merging of the ways a key is heard.

Owns what a press is in the audio and across the ways: one digit per press. Knows neither packets nor legs; keys in RTP
are ext.telephone_event's.

The detector works on blocks of 80 samples (10 ms). In each block Goertzel filters find the strongest low and the
strongest high frequency; a least-squares fit of that pair says how much of the block's energy the two tones explain;
the advance of their phases since the block before says how far each is off its nominal frequency. Three consecutive
blocks confirm a press (so 40 ms always suffice and 23 ms never do); three blocks without it end it (so a gap of 10 ms
does not).
"""
from libc.math cimport atan2f, cos, fabsf, floorf, pow, sin
from libc.string cimport memset

import numpy as np

cdef enum:
    BLOCK = 80
    HITS_TO_CONFIRM = 3
    MISSES_TO_END = 3

cdef double RATE_HZ = 8000.0
cdef double PI = 3.14159265358979323846
cdef double FULL_SCALE_DBM0 = 3.14         # a full-scale sine (G.711 A-law; mu-law differs by 0.03 dB)
cdef float LEVEL_MIN_DBM0 = -36.0          # each tone; Q.24 asks for -25 (Japan, -24) to -29 dBm0
# Share of a block's energy that its pair must explain.
cdef float EXPLAINED_FIRST = 0.66          # frequencies not known yet: 1.5 % off at 1633 Hz keeps 0.78
cdef float EXPLAINED_MIN = 0.80            # ... corrected for the frequency offset: about 7 dB over noise or speech
cdef float EXPLAINED_HELD = 0.50           # ... while a press lasts: a concealed or noisy block does not split it
cdef float RESIDUAL_OF_WEAKER_MAX = 0.70   # of the weaker tone: without it, a lone tone and noise would pass
cdef float OFFSET_MAX = 0.025              # between the 1.5 % that Q.24 accepts and the 3.5 % that it rejects
cdef float TWIST_MAX = 9.3                 # low over high, as power ratio 9.7 dB: Q.24's 8 dB, and what offsets cost
cdef float REVERSE_TWIST_MAX = 3.7         # high over low, 5.7 dB: Q.24's 4 dB, likewise
cdef float STEADY_MAX = 2.0                # amplitude ratio between blocks of a press: a tone stands, speech moves
cdef int64_t SAME_PRESS_NS = 1000000000    # a way that lags more than 1 s behind another is not the same press

cdef double FREQUENCY_HZ[8]
cdef float COEFFICIENT[8]                  # 2 cos w
cdef float COSINE[8]
cdef float SINE[8]
cdef float ADVANCE[8]                      # of the phase over one block, radians
cdef float FIT[4][4][4][4]                 # by low and high: inverse Gram matrix of (cos, sin) of both over a block
cdef float POWER_MIN
cdef char* DIGITS = b"0123456789*#ABCD"
cdef int DIGIT_OF_PAIR[16]                 # by 4 * low + high
DIGIT_OF_PAIR[:] = [ord(c) for c in "123A456B789C*0#D"]
FREQUENCY_HZ[:] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0]


cdef void fill_tables():
    global POWER_MIN
    cdef int i, low, high
    # Phases count from the block's last sample: there a Goertzel filter's output is a plain sum.
    n = np.arange(BLOCK) - (BLOCK - 1)
    basis = []
    for i in range(8):
        omega = 2.0 * PI * FREQUENCY_HZ[i] / RATE_HZ
        COEFFICIENT[i] = <float>(2.0 * cos(omega))
        COSINE[i] = <float>cos(omega)
        SINE[i] = <float>sin(omega)
        ADVANCE[i] = <float>(omega * BLOCK)
        basis.append((np.cos(omega * n), np.sin(omega * n)))
    for low in range(4):
        for high in range(4):
            pair = np.stack([*basis[low], *basis[4 + high]])
            inverse = np.linalg.inv(pair @ pair.T)
            for i in range(16):
                FIT[low][high][i // 4][i % 4] = inverse[i // 4, i % 4]
    POWER_MIN = <float>(0.5 * BLOCK * (32768.0 * pow(10.0, (LEVEL_MIN_DBM0 - FULL_SCALE_DBM0) / 20.0)) ** 2)


fill_tables()

# --- keys


cdef int dtmf_event(int digit) noexcept nogil:
    cdef int i
    if 97 <= digit <= 100:
        digit -= 32
    for i in range(16):
        if DIGITS[i] == digit:
            return i
    return -1


cdef int dtmf_digit(int event) noexcept nogil:
    return DIGITS[event] if 0 <= event < 16 else 0


cdef int dtmf_frequencies(int digit, double* out) noexcept nogil:
    cdef int event = dtmf_event(digit)
    cdef int i
    for i in range(16):
        if event >= 0 and DIGIT_OF_PAIR[i] == DIGITS[event]:
            out[0] = FREQUENCY_HZ[i >> 2]
            out[1] = FREQUENCY_HZ[4 + (i & 3)]
            return 0
    return -1

# --- detector


cdef void dtmf_detector_init(DtmfDetector* d) noexcept nogil:
    memset(d, 0, sizeof(DtmfDetector))


cdef inline float loss_of_offset(float offset_hz) noexcept nogil:
    """Power of an off-frequency tone that the fit still explains: sinc^2 of the offset over the block, to 4th order."""
    cdef float x = <float>(3.14159265 * BLOCK / 8000.0) * offset_hz
    x = x * x
    return 1.0 - x * <float>(1.0 / 3.0) + x * x * <float>(2.0 / 45.0)


cdef inline float offset_hz(float phase, float before, float advance) noexcept nogil:
    """How far a tone is off, from its phase at the ends of two consecutive blocks; unambiguous within 50 Hz."""
    cdef float turns = (phase - before - advance) * <float>(1.0 / (2.0 * 3.14159265358979))
    return (turns - floorf(turns + <float>0.5)) * <float>(8000.0 / BLOCK)


cdef int judge_block(DtmfDetector* d) noexcept nogil:
    """The digit that the finished block holds, or 0. Updates phase and amplitude of the last hit."""
    cdef float power[8]
    cdef float b[4]
    cdef float a[4]
    cdef float tone[2]
    cdef float phase[2]
    cdef float off[2]
    cdef int i, j, digit, known
    cdef int low = 0
    cdef int high = 4
    cdef float explained = 0.0
    cdef float lost = 0.0
    cdef float needed, weaker, kept, ratio
    if d.energy < 2.0 * POWER_MIN:
        return 0
    for i in range(8):
        power[i] = d.s1[i] * d.s1[i] + d.s2[i] * d.s2[i] - COEFFICIENT[i] * d.s1[i] * d.s2[i]
    for i in range(1, 4):
        low = i if power[i] > power[low] else low
        high = 4 + i if power[4 + i] > power[high] else high
    # Sums of x cos and x sin, phase zero at the block's last sample.
    b[0] = d.s1[low] - COSINE[low] * d.s2[low]
    b[1] = -SINE[low] * d.s2[low]
    b[2] = d.s1[high] - COSINE[high] * d.s2[high]
    b[3] = -SINE[high] * d.s2[high]
    for i in range(4):
        a[i] = 0.0
        for j in range(4):
            a[i] += FIT[low][high - 4][i][j] * b[j]
        explained += a[i] * b[i]
    digit = DIGIT_OF_PAIR[4 * low + high - 4]
    known = d.hit == digit
    for i in range(2):
        tone[i] = (a[2 * i] * a[2 * i] + a[2 * i + 1] * a[2 * i + 1]) * <float>(0.5 * BLOCK)
        phase[i] = atan2f(-a[2 * i + 1], a[2 * i])
        if known:
            j = low if i == 0 else high
            off[i] = offset_hz(phase[i], d.phase[i], ADVANCE[j])
            if fabsf(off[i]) > OFFSET_MAX * <float>FREQUENCY_HZ[j]:
                known = -1
                break
            kept = loss_of_offset(off[i])
            lost += tone[i] * (1.0 / kept - 1.0)
            tone[i] /= kept
            ratio = tone[i] / (d.amplitude[i] * d.amplitude[i])
            if ratio > STEADY_MAX * STEADY_MAX or ratio * (STEADY_MAX * STEADY_MAX) < 1.0:
                known = -1
                break
    if d.current == digit:
        # A press that lasts: neither a step of level nor a concealed stretch with another phase is a new one.
        return digit if explained + lost >= EXPLAINED_HELD * d.energy else 0
    if known < 0:
        return 0
    weaker = tone[0] if tone[0] < tone[1] else tone[1]
    needed = EXPLAINED_MIN if known else EXPLAINED_FIRST
    if (
        explained + lost < needed * d.energy
        or weaker < POWER_MIN
        or tone[0] > TWIST_MAX * tone[1]
        or tone[1] > REVERSE_TWIST_MAX * tone[0]
        or (known and d.energy - explained - lost > RESIDUAL_OF_WEAKER_MAX * weaker)
    ):
        return 0
    for i in range(2):
        d.phase[i] = phase[i]
        d.amplitude[i] = <float>pow(tone[i], 0.5)
    return digit


cdef int finish_block(DtmfDetector* d) noexcept nogil:
    cdef int digit = judge_block(d)
    cdef int confirmed = 0
    cdef int i
    d.misses = 0 if digit != 0 and digit == d.current else d.misses + 1
    if d.misses >= MISSES_TO_END:
        d.current = 0
    d.hits = d.hits + 1 if digit != 0 and digit == d.hit else (1 if digit != 0 else 0)
    d.hit = digit
    if d.hits >= HITS_TO_CONFIRM and digit != d.current:
        d.current = digit
        d.misses = 0
        confirmed = digit
    for i in range(8):
        d.s1[i] = 0.0
        d.s2[i] = 0.0
    d.energy = 0.0
    d.block_fill = 0
    return confirmed


cdef int dtmf_detector_step(DtmfDetector* d, const int16_t* pcm, int samples) noexcept nogil:
    cdef int confirmed = 0
    cdef int done = 0
    cdef int take, i, j, found
    cdef float x, s0
    while done < samples:
        take = min(samples - done, BLOCK - d.block_fill)
        for i in range(take):
            x = pcm[done + i]
            d.energy += x * x
            for j in range(8):
                s0 = x + COEFFICIENT[j] * d.s1[j] - d.s2[j]
                d.s2[j] = d.s1[j]
                d.s1[j] = s0
        done += take
        d.block_fill += take
        if d.block_fill == BLOCK:
            found = finish_block(d)
            confirmed = found if found else confirmed
    return confirmed

# --- one press heard several ways


cdef void dtmf_merger_init(DtmfMerger* m) noexcept nogil:
    memset(m, 0, sizeof(DtmfMerger))


cdef int dtmf_merger_step(DtmfMerger* m, int digit, int way, int64_t now_ns) noexcept nogil:
    """Counts presses of a key by way; the way that is ahead decides. So two quick presses heard twice each stay two."""
    cdef int key = dtmf_event(digit)
    cdef int i
    if key < 0 or way < 0 or way >= DTMF_WAYS:
        return 0
    if now_ns - m.last_ns[key] > SAME_PRESS_NS or m.accepted[key] == 255 or m.heard[key][way] == 255:
        for i in range(<int>DTMF_WAYS):
            m.heard[key][i] = 0
        m.accepted[key] = 0
    m.last_ns[key] = now_ns
    m.heard[key][way] += 1
    if m.heard[key][way] <= m.accepted[key]:
        return 0
    m.accepted[key] += 1
    return 1

# --- for Python: tests, and the face of the engine


cdef class Detector:
    """In-band detector of one stream at 8 kHz."""

    cdef DtmfDetector state

    def __cinit__(self):
        dtmf_detector_init(&self.state)

    def step(self, const int16_t[::1] pcm not None):
        cdef int digit
        if pcm.shape[0] > 480:
            raise ValueError(f"step: {pcm.shape[0]} samples; at most 480 at a time")
        digit = dtmf_detector_step(&self.state, &pcm[0], <int>pcm.shape[0]) if pcm.shape[0] else 0
        return chr(digit) if digit else ""


cdef class Merger:
    """One digit per press across the ways; way: 0 RFC 4733, 1 SIP INFO, 2 in-band."""

    cdef DtmfMerger state

    def __cinit__(self):
        dtmf_merger_init(&self.state)

    def step(self, str digit, int way, int64_t now_ns):
        return bool(dtmf_merger_step(&self.state, ord(digit), way, now_ns))


def frequencies(str digit):
    """(low, high) of a key in Hz."""
    cdef double pair[2]
    if dtmf_frequencies(ord(digit), pair) != 0:
        raise ValueError("a key is one of 0-9 * # A-D")
    return pair[0], pair[1]
