# The boundary between the control plane and one worker: a ring of commands in; rings of replies, ordered events and
# "something about this changed" notes out. One producer and one consumer each, no lock. Fixed sizes, made at start.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum Operation:
    OP_OPEN_LEG = 1                    # data: Leg*
    OP_CLOSE_LEG = 2                   # reply.data: the Leg* back
    OP_SET_STREAM = 3                  # data: StreamChange*; back with what was replaced
    OP_OPEN_BRIDGE = 4                 # data: Bridge*
    OP_CLOSE_BRIDGE = 5                # reply.data: the Bridge* back
    OP_GROW_BRIDGE = 6                 # data: larger Bridge*; reply.data: the smaller one
    OP_BRIDGE_ADD = 7                  # target bridge, other leg
    OP_BRIDGE_REMOVE = 8
    OP_SET_HEARS = 9                   # target bridge, other listener, value speaker, flag
    OP_SET_GAIN = 10                   # value: Q12
    OP_SET_MUTE = 11                   # flag
    OP_PLAY = 12                       # data: Play*; comes back later by NOTE_PLAY_ENDED
    OP_STOP_PLAY = 13
    OP_SEND_DTMF = 14                  # data: DtmfOrder*; back at once
    OP_OPEN_TAP = 15                   # data: Tap*, which stays the control side's
    OP_CLOSE_TAP = 16                  # value: the tap's handle
    OP_DETACH_LEG = 17                 # reply.data: Leg*, whole, for another worker to open
    OP_PUBLISH = 18                    # statistics of the target now
    OP_REPORT_DIGIT = 19               # value: ASCII digit that came by signalling (SIP INFO)
    OP_OPEN_TRACK = 20                 # data: TrackOpening*; comes back
    OP_CLOSE_TRACK = 21                # value: track id; reply.data: the Track* back
    OP_SET_TRACK = 22                  # value: track id; data: TrackChange*; back with what was replaced
    OP_CONNECT_TRACK = 23              # value: sink's id; other, flag: leg and track id of the source; 0: none
    OP_LIMIT_TRACK = 24                # value: track id; data: TrackLimits*; comes back
    OP_ASK_KEY_FRAME = 25              # value: track id
    OP_SET_PROCESSING = 26             # data: LegVoice* or NULL; back with what was replaced
    OP_OPEN_TRACK_TAP = 27             # value: track id; data: Tap*, which stays the control side's
    OP_CLOSE_TRACK_TAP = 28            # likewise

    OP_OPEN_PORT = 50                  # data: Port*
    OP_CLOSE_PORT = 51                 # reply.data: the Port* back
    OP_BIND = 52                       # target port, other leg (0: nobody), data: Address*; back at once
    OP_OPEN_CONN = 53                  # data: Conn*
    OP_CLOSE_CONN = 54                 # reply.data: the Conn* back
    OP_BIND_CONN = 55                  # target connection, other leg
    OP_SEND_CONN = 56                  # target connection, data: Frame*; back at once

cdef enum Status:
    STATUS_OK = 0
    STATUS_STALE_HANDLE = 1
    STATUS_REFUSED = 2                 # the thing is there but its state does not allow it
    STATUS_FULL = 3

cdef enum MessageKind:
    REPLY = 1                          # to exactly one command, by its id
    NOTE_PLAY_ENDED = 2                # data: Play* back; flag: completed. Never dropped
    EVENT_DIGIT = 3                    # value: ASCII digit, extra: duration ms, flag: source
    CHANGED_LEG = 4
    CHANGED_TAP = 5
    CHANGED_BRIDGE = 6
    CHANGED_VIDEO = 7                  # some track of the leg `handle`
    CHANGED_CONN = 50                  # the peer has closed it

cdef struct Command:
    uint64_t id
    int32_t operation
    int32_t flag
    uint64_t target
    uint64_t other
    int64_t value
    void* data

cdef struct Message:
    int32_t kind
    int32_t status
    uint64_t id
    uint64_t handle
    int64_t value
    int32_t extra
    int32_t flag
    void* data

cdef struct CommandRing:
    Command* items
    uint32_t size                      # a power of two
    uint32_t head                      # next to read; the worker's
    uint64_t pad[7]                    # keeps the two ends on cache lines of their own
    uint32_t tail                      # next to write; the control side's

cdef struct MessageRing:
    Message* items
    uint32_t size
    uint32_t head
    uint64_t pad[7]                    # keeps the two ends on cache lines of their own
    uint32_t tail

cdef int command_ring_init(CommandRing* ring, uint32_t size) noexcept nogil
cdef int message_ring_init(MessageRing* ring, uint32_t size) noexcept nogil
# 0, or -1: full.
cdef int command_push(CommandRing* ring, const Command* command) noexcept nogil
cdef int message_push(MessageRing* ring, const Message* message) noexcept nogil
# 1, or 0: empty.
cdef int command_pop(CommandRing* ring, Command* command) noexcept nogil
cdef int message_pop(MessageRing* ring, Message* message) noexcept nogil
