# One worker's post office on the control side: which handles are open, which commands are unanswered, what comes back.
from libc.stdint cimport int32_t, int64_t, uint64_t
from mediaserver.ext.channel cimport Command, Message
from mediaserver.ext.conn cimport Conn
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.memnet cimport MemoryNetwork
from mediaserver.ext.net cimport UdpNetwork
from mediaserver.ext.stream cimport StreamOptions
from mediaserver.ext.state cimport Worker as NativeWorker

cdef class HandleTable:
    cdef list free_indexes
    cdef list generations
    cdef dict pointers                 # handle -> address
    cdef uint64_t kind                 # bits above the generation: handles of two tables never look alike
    cdef uint64_t take(self, void* pointer) except 0
    cdef void* get(self, uint64_t handle) except NULL
    cdef void replace(self, uint64_t handle, void* pointer)
    cdef bint drop(self, uint64_t handle) except -1

cdef class DetachedLeg:
    cdef Leg* leg
    cdef object settings
    cdef dict plays
    cdef list taps
    cdef dict tracks
    cdef bint with_video

cdef class DetachedConn:
    cdef Conn* conn

cdef class Mailbox:
    cdef NativeWorker native
    cdef StreamOptions options
    cdef object network
    cdef UdpNetwork udp
    cdef MemoryNetwork memory
    cdef HandleTable legs
    cdef HandleTable bridges
    cdef HandleTable ports
    cdef HandleTable conns
    cdef dict pending                  # command id -> operation
    cdef dict settings                 # leg handle -> the StreamSettings it has
    cdef dict plays                    # play id -> (leg handle, samples): they live as long as the worker reads them
    cdef dict taps                     # leg handle -> TapRings the worker writes to
    cdef dict tracks                   # leg handle -> {track id: (address, the TrackSettings it has)}
    cdef set with_video                # leg handles that have, or are about to have, a VideoLeg
    cdef dict members                  # bridge handle -> leg handles in it, or about to be
    cdef dict bridge_of                # leg handle -> bridge handle, likewise
    cdef dict capacity                 # bridge handle -> rows
    cdef uint64_t next_id
    cdef int queue_size
    cdef Command command(self, int operation, uint64_t target)
    cdef uint64_t submit(self, Command* command) except 0
    cdef int leg_changes(self, uint64_t handle, list out) except -1
    cdef int bridge_changes(self, uint64_t handle, list out) except -1
    cdef int video_changes(self, uint64_t handle, list out) except -1
    cdef object track_reply(self, int operation, Message* m)
    cdef tuple play_ended(self, Message* m)
    cdef object detached(self, Message* m)
    cdef int forget_tap(self, uint64_t leg, void* tap) except -1
    cdef int forget_leg(self, uint64_t handle) except -1
    cdef object gate_reply(self, int operation, Message* m)
    cdef tuple reply(self, Message* m)
