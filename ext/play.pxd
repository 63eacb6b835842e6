# One playing of a prompt or tone on one leg. The samples are shared and read only; who owns them outlives the Play.
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t, uint64_t
from mediaserver.ext.dtmf cimport ToneGenerator

cdef enum:
    TONE_RATE_HZ = 8000                # call-progress tones and DTMF lie below 2 kHz

cdef struct Play:
    uint64_t id
    const int16_t* samples             # NULL: a tone
    int64_t count
    int64_t position
    int32_t rate_hz                    # 8000, 16000 or 48000
    int32_t loop
    int32_t gain_q12
    int32_t completed                  # it came to its end by itself
    ToneGenerator tone
    # What carried it: packets sent between these two numbers, digits among them included. packets 0: nothing was sent.
    uint32_t ssrc
    uint32_t first_sequence            # extended (RFC 3550 §6.4.1), likewise the last
    uint32_t last_sequence
    uint32_t packets

# The next 20 ms into out at play.rate_hz; the last piece is filled up with silence. 1 while it lasts, 0: it was over.
cdef int play_step(Play* p, int16_t* out) noexcept nogil

# Packets from the extended number `first` up to and without `next_` carried its last 20 ms.
cdef void play_sent(Play* p, uint32_t ssrc, uint32_t first, uint32_t next_) noexcept nogil
# Control path: ssrc, first and last extended sequence number, packets; None: nothing was sent.
cdef tuple play_range(const Play* p)

# Control path. The caller keeps `samples` (int16, native order) alive until the Play has come back. Raise ValueError,
# MemoryError.
cdef Play* play_new_samples(uint64_t play_id, bytes samples, int rate_hz, bint loop, int gain_q12,
                            int64_t start) except NULL
cdef Play* play_new_tone(uint64_t play_id, frequencies_hz, cadence_ms, double level_dbm0, int repeats) except NULL
