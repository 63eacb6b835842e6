"""The one way out of a worker, and its random numbers: seeded from outside, so that a run repeats from its seed."""

from libc.string cimport memset
from mediaserver.ext.channel cimport message_push


cdef uint32_t context_random(Context* ctx) noexcept nogil:
    # splitmix64
    cdef uint64_t z
    ctx.random_state += <uint64_t>0x9E3779B97F4A7C15
    z = ctx.random_state
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return <uint32_t>((z ^ (z >> 31)) >> 32)


cdef void context_reply(Context* ctx, const Message* message) noexcept nogil:
    message_push(&ctx.replies, message)
    ctx.spoke = 1


cdef void context_event(Context* ctx, const Message* message) noexcept nogil:
    if message_push(&ctx.events, message) < 0:
        ctx.counters.events_dropped += 1
    ctx.spoke = 1


cdef void context_changed(Context* ctx, int kind, uint64_t handle) noexcept nogil:
    cdef Message note
    memset(&note, 0, sizeof(note))
    note.kind = kind
    note.handle = handle
    if message_push(&ctx.changes, &note) < 0:
        ctx.counters.events_dropped += 1
    ctx.spoke = 1
