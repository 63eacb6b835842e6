# A line of samples: what was played (for concealment to go on from) and what is made and not played yet.
#     pcm[0 .. at) played   pcm[at .. end) waiting   pcm[end .. capacity) room
from libc.stdint cimport int16_t, int32_t, int64_t

cdef enum:
    LINE_HISTORY_MS = 50           # a window and the longest pitch period, and a little
    LINE_KINDS = 4
    LINE_VOICE = 1                 # PLAYED_VOICE

cdef struct SampleLine:
    int16_t* pcm                   # owned
    int32_t capacity
    int32_t rate_hz                # 0: nothing yet
    int32_t at
    int32_t end
    int32_t covered                # samples made up since the last decoded one
    int32_t gap_kind               # PlayoutKind of the latest samples that are not voice
    int32_t gap_end                # where in pcm they end; behind is voice
    int64_t kind_ns[LINE_KINDS]    # made of each kind since the start

# Room for at least `samples`, content kept. Allocates: once per codec of a leg. 0, or -1 without memory.
cdef int line_reserve(SampleLine* line, int samples) noexcept nogil
cdef void line_free(SampleLine* line) noexcept nogil
# Makes room for `samples` more behind the end by forgetting older history; 1, or 0: there is none, write nothing.
cdef int line_room(SampleLine* line, int samples) noexcept nogil
# `samples` of this kind have been written at pcm + end.
cdef void line_made(SampleLine* line, int kind, int samples) noexcept nogil
# The codec changed: history and what waits are carried over (coarsely), so that the seam can be blended.
cdef void line_change_rate(SampleLine* line, int rate_hz) noexcept nogil
# 1 if pcm[start .. start + samples) is so soft that nobody hears a splice.
cdef int line_quiet(const SampleLine* line, int start, int samples) noexcept nogil
# `samples` of speech are written behind the end, after samples made up: if all is quiet, up to `limit` of those made up
# are taken back and the speech moves up. Returns how many.
cdef int line_cut_pause(SampleLine* line, int samples, int limit) noexcept nogil
# Takes out (puts in) one pitch period of at most `limit` samples; least_q15: how alike the periods must be. In quiet
# any splice will do. Returns the samples taken out (put in); 0: nothing fits.
cdef int line_shorten(SampleLine* line, int limit, int least_q15) noexcept nogil
cdef int line_lengthen(SampleLine* line, int limit, int least_q15) noexcept nogil

cdef inline int64_t line_ns(const SampleLine* line, int samples) noexcept nogil:
    return <int64_t> samples * 1000000000 / line.rate_hz

cdef inline int line_samples(const SampleLine* line, int64_t ns) noexcept nogil:
    return <int> ((ns * line.rate_hz + 500000000) / 1000000000)

cdef inline int line_waiting(const SampleLine* line) noexcept nogil:
    return line.end - line.at

# Samples made up since the last decoded one that still wait.
cdef inline int line_made_up(const SampleLine* line) noexcept nogil:
    return line.covered if line.covered < line_waiting(line) else line_waiting(line)
