"""The Python face of one media worker: allocates what commands carry, frees what replies bring back, reads statistics.

Used from one thread, the event loop's; only `run` belongs to the worker's own thread. Handles are integers with a
generation; whatever is late gets a reply with STALE_HANDLE. Follows ext/channel.pxd.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from mediaserver.ext.atomic cimport exchange_32, fence_acquire, load_acquire_32, load_relaxed_32, store_release_32
from mediaserver.ext.bridge cimport BRIDGE_ROWS_START, Bridge, bridge_free, bridge_new
from mediaserver.ext.channel cimport (
    CHANGED_LEG,
    EVENT_DIGIT,
    OP_BRIDGE_ADD,
    OP_BRIDGE_REMOVE,
    OP_CLOSE_BRIDGE,
    OP_CLOSE_LEG,
    OP_DETACH_LEG,
    OP_GROW_BRIDGE,
    OP_OPEN_BRIDGE,
    OP_OPEN_LEG,
    OP_PUBLISH,
    OP_SET_GAIN,
    OP_SET_HEARS,
    OP_SET_MUTE,
    OP_SET_STREAM,
    STATUS_OK,
    Command,
    Message,
    command_push,
    message_pop,
)
from mediaserver.ext.context cimport Counters
from mediaserver.ext.leg cimport CHANGE_SILENCE, CHANGE_SOURCE, Leg, LegSnapshot, StreamChange
from mediaserver.ext.memnet cimport MemoryNetwork
from mediaserver.ext.net cimport UdpNetwork, udp_wake
from mediaserver.ext.rtp cimport rtp_sender_init
from mediaserver.ext.stream cimport StreamOptions, change_free, change_new, leg_free, snapshot_to_python
from mediaserver.ext.worker cimport Worker as NativeWorker
from mediaserver.ext.worker cimport worker_free, worker_init, worker_run, worker_step

from mediaserver.errors import QueueFull, StaleHandle


cdef class HandleTable:
    """Which indexes of a table are taken, by whom (generation), and the pointer there. Control side only."""

    cdef list free_indexes
    cdef list generations
    cdef dict pointers

    def __init__(self, int size):
        self.free_indexes = list(range(size - 1, -1, -1))
        self.generations = [0] * size
        self.pointers = {}

    cdef uint64_t take(self, void* pointer) except 0:
        if not self.free_indexes:
            raise QueueFull(f"all {len(self.generations)} places of this media worker are taken; raise media.workers")
        index = self.free_indexes.pop()
        self.generations[index] += 1
        cdef uint64_t handle = (<uint64_t>self.generations[index] << 16) | <uint64_t>index
        self.pointers[handle] = <size_t>pointer
        return handle

    cdef void* get(self, uint64_t handle) except NULL:
        cdef object pointer = self.pointers.get(handle)
        if pointer is None:
            raise StaleHandle(f"nothing is open under handle {handle:#x}: it was closed before")
        return <void*><size_t>pointer

    cdef void replace(self, uint64_t handle, void* pointer):
        self.pointers[handle] = <size_t>pointer

    cdef bint drop(self, uint64_t handle) except -1:
        if self.pointers.pop(handle, None) is None:
            return False
        self.free_indexes.append(handle & 0xFFFF)
        return True


cdef class Worker:
    """One worker. Every command method returns the command's id; its reply comes out of `drain` exactly once.

    Raises QueueFull when `queue_size` commands are unanswered, StaleHandle for a handle that is known to be closed.
    """

    cdef NativeWorker native
    cdef StreamOptions options
    cdef object network
    cdef UdpNetwork udp
    cdef MemoryNetwork memory
    cdef HandleTable legs
    cdef HandleTable bridges
    cdef dict pending                  # command id -> operation
    cdef dict settings                 # leg handle -> the StreamSettings it has
    cdef dict members                  # bridge handle -> leg handles in it, or about to be
    cdef dict capacity                 # bridge handle -> rows
    cdef uint64_t next_id
    cdef int queue_size

    def __cinit__(self, network, *, int legs_max, int bridges_max, int pool_size, int queue_size, uint64_t seed,
                  int64_t wall_offset_ns, int64_t silence_ns, options, int bell=-1):
        if isinstance(network, UdpNetwork):
            self.udp = network
            code = worker_init(&self.native, &self.udp.net, legs_max, bridges_max, pool_size, queue_size)
        else:
            self.memory = network
            code = worker_init(&self.native, &self.memory.net, legs_max, bridges_max, pool_size, queue_size)
        if code < 0:
            raise MemoryError("no memory for a media worker's tables and packet pool")
        self.network = network
        self.options = options
        self.native.bell = bell
        self.native.ctx.random_state = seed
        self.native.ctx.wall_offset_ns = wall_offset_ns
        self.native.ctx.silence_ns = silence_ns
        self.legs = HandleTable(legs_max)
        self.bridges = HandleTable(bridges_max)
        self.pending = {}
        self.settings = {}
        self.members = {}
        self.capacity = {}
        self.queue_size = queue_size
        self.next_id = 0

    def __dealloc__(self):
        for pointer in self.legs.pointers.values() if self.legs is not None else ():
            leg_free(<Leg*><size_t>pointer)
        for pointer in self.bridges.pointers.values() if self.bridges is not None else ():
            bridge_free(<Bridge*><size_t>pointer)
        worker_free(&self.native)

    # --- the worker's own thread

    def run(self) -> None:
        """The thread's whole life, without the GIL, until `stop`."""
        with nogil:
            worker_run(&self.native, &self.udp.state)

    def stop(self) -> None:
        store_release_32(&self.native.stop, 1)
        udp_wake(&self.udp.state)

    def step(self, int64_t now_ns) -> int:
        """Everything due at now_ns (virtual time); when to call again at the latest."""
        self.memory.state.now_ns = now_ns
        return worker_step(&self.native, now_ns)

    # --- commands

    cdef uint64_t submit(self, Command* command) except 0:
        if len(self.pending) >= self.queue_size or command_push(&self.native.commands, command) < 0:
            raise QueueFull(f"{self.queue_size} commands wait for the media worker: try again later, or call less often")
        self.pending[command.id] = command.operation
        if self.udp is not None:
            udp_wake(&self.udp.state)
        return command.id

    cdef Command command(self, int operation, uint64_t target):
        cdef Command c
        memset(&c, 0, sizeof(c))
        self.next_id += 1
        c.id = self.next_id
        c.operation = operation
        c.target = target
        return c

    def open_leg(self, int rtp_socket, int rtcp_socket, uint32_t ssrc, uint16_t sequence, uint32_t timestamp) -> tuple[int, int]:
        """(command id, leg handle). The sockets stay the caller's to close, after the reply to close_leg."""
        cdef Command c
        cdef Leg* leg = <Leg*>calloc(1, sizeof(Leg))
        if leg is NULL:
            raise MemoryError
        try:
            leg.handle = self.legs.take(leg)
        except BaseException:
            free(leg)
            raise
        leg.rtp_socket = rtp_socket
        leg.rtcp_socket = rtcp_socket
        leg.row = -1
        leg.gain_q12 = 4096
        leg.level = 127
        leg.remote_fraction = -1
        rtp_sender_init(&leg.sender, ssrc, sequence, timestamp)
        leg.snapshot.remote_fraction = -1
        leg.snapshot.level_dbov = -127
        c = self.command(OP_OPEN_LEG, leg.handle)
        c.data = leg
        try:
            return self.submit(&c), leg.handle
        except BaseException:
            self.legs.drop(leg.handle)
            free(leg)
            raise

    def set_stream(self, uint64_t leg, settings) -> int:
        cdef Command c = self.command(OP_SET_STREAM, leg)
        cdef StreamChange* change
        self.legs.get(leg)
        change = change_new(settings, self.settings.get(leg), &self.options)
        c.data = change
        try:
            self.submit(&c)
        except BaseException:
            change_free(change)
            raise
        self.settings[leg] = settings
        return c.id

    def close_leg(self, uint64_t leg) -> int:
        """The reply's result is the leg's last statistics."""
        return self.leg_command(OP_CLOSE_LEG, leg, 0, 0)

    def set_gain(self, uint64_t leg, int gain_q12) -> int:
        return self.leg_command(OP_SET_GAIN, leg, gain_q12, 0)

    def set_mute(self, uint64_t leg, bint muted) -> int:
        return self.leg_command(OP_SET_MUTE, leg, 0, muted)

    def publish(self, uint64_t leg) -> int:
        """Brings the leg's statistics up to this moment."""
        return self.leg_command(OP_PUBLISH, leg, 0, 0)

    cdef uint64_t leg_command(self, int operation, uint64_t leg, int64_t value, int flag) except 0:
        cdef Command c = self.command(operation, leg)
        self.legs.get(leg)
        c.value = value
        c.flag = flag
        return self.submit(&c)

    def open_bridge(self) -> tuple[int, int]:
        cdef Command c
        cdef Bridge* bridge = bridge_new(BRIDGE_ROWS_START)
        if bridge is NULL:
            raise MemoryError
        try:
            bridge.handle = self.bridges.take(bridge)
        except BaseException:
            bridge_free(bridge)
            raise
        c = self.command(OP_OPEN_BRIDGE, bridge.handle)
        c.data = bridge
        try:
            self.submit(&c)
        except BaseException:
            self.bridges.drop(bridge.handle)
            bridge_free(bridge)
            raise
        self.members[bridge.handle] = set()
        self.capacity[bridge.handle] = BRIDGE_ROWS_START
        return c.id, bridge.handle

    def close_bridge(self, uint64_t bridge) -> int:
        self.members.pop(bridge, None)
        return self.bridge_command(OP_CLOSE_BRIDGE, bridge, 0, 0, 0)

    def bridge_add(self, uint64_t bridge, uint64_t leg) -> int:
        self.bridges.get(bridge)
        members = self.members[bridge]
        if leg not in members and len(members) == self.capacity[bridge]:
            self.grow_bridge(bridge, max(64, 2 * self.capacity[bridge]))
        command_id = self.bridge_command(OP_BRIDGE_ADD, bridge, leg, 0, 0)
        members.add(leg)
        return command_id

    def bridge_remove(self, uint64_t bridge, uint64_t leg) -> int:
        command_id = self.bridge_command(OP_BRIDGE_REMOVE, bridge, leg, 0, 0)
        self.members[bridge].discard(leg)
        return command_id

    def set_hears(self, uint64_t bridge, uint64_t listener, uint64_t speaker, bint hears) -> int:
        return self.bridge_command(OP_SET_HEARS, bridge, listener, speaker, hears)

    cdef uint64_t bridge_command(self, int operation, uint64_t bridge, uint64_t leg, uint64_t other, int flag) except 0:
        cdef Command c = self.command(operation, bridge)
        self.bridges.get(bridge)
        c.other = leg
        c.value = other
        c.flag = flag
        return self.submit(&c)

    cdef int grow_bridge(self, uint64_t handle, int rows) except -1:
        cdef Command c = self.command(OP_GROW_BRIDGE, handle)
        cdef Bridge* larger = bridge_new(rows)
        if larger is NULL:
            raise MemoryError
        c.data = larger
        try:
            self.submit(&c)
        except BaseException:
            bridge_free(larger)
            raise
        self.bridges.replace(handle, larger)
        self.capacity[handle] = rows
        return 0

    # --- what comes back

    def drain(self) -> list[tuple]:
        """Everything the worker has said since: ("reply", id, status, result), ("digit", leg, digit, ms, source),
        ("source", leg, (host, port)), ("silence", leg, silent)."""
        cdef Message m
        out: list[tuple] = []
        store_release_32(&self.native.bell_rung, 0)
        while message_pop(&self.native.ctx.replies, &m):
            out.append(self.reply(&m))
        while message_pop(&self.native.ctx.events, &m):
            if m.kind == EVENT_DIGIT:
                out.append(("digit", m.handle, chr(m.value), m.extra, m.flag))
        while message_pop(&self.native.ctx.changes, &m):
            if m.kind == CHANGED_LEG:
                self.leg_changes(m.handle, out)
        return out

    cdef int leg_changes(self, uint64_t handle, list out) except -1:
        cdef Leg* leg
        cdef uint32_t bits
        if handle not in self.legs.pointers:
            return 0
        leg = <Leg*>self.legs.get(handle)
        bits = exchange_32(&leg.changes, 0)
        stats = self.leg_stats(handle)
        if bits & CHANGE_SOURCE and stats["source"] is not None:
            out.append(("source", handle, stats["source"]))
        if bits & CHANGE_SILENCE:
            out.append(("silence", handle, bool(stats["silent"])))
        return 0

    cdef tuple reply(self, Message* m):
        cdef int operation = self.pending.pop(m.id)
        result = None
        if operation == OP_SET_STREAM:
            change_free(<StreamChange*>m.data)
        elif operation == OP_CLOSE_LEG and m.status == STATUS_OK:
            result = self.leg_stats(m.handle)
            self.legs.drop(m.handle)
            self.settings.pop(m.handle, None)
            for members in self.members.values():
                members.discard(m.handle)
            leg_free(<Leg*>m.data)
        elif operation == OP_CLOSE_BRIDGE and m.status == STATUS_OK:
            self.bridges.drop(m.handle)
            self.capacity.pop(m.handle, None)
            bridge_free(<Bridge*>m.data)
        elif operation == OP_GROW_BRIDGE:
            bridge_free(<Bridge*>m.data)
        return "reply", m.id, m.status, result

    # --- statistics, read and never asked for

    def leg_stats(self, uint64_t handle) -> dict:
        """Fields of LegSnapshot by name; at most 100 ms old. Raises StaleHandle."""
        cdef Leg* leg = <Leg*>self.legs.get(handle)
        cdef LegSnapshot copy
        cdef uint32_t before
        while True:
            before = load_acquire_32(&leg.snapshot_sequence)
            copy = leg.snapshot
            fence_acquire()
            if not before & 1 and load_relaxed_32(&leg.snapshot_sequence) == before:
                return snapshot_to_python(&copy)

    def counters(self) -> dict:
        """Fields of Counters by name; at most 20 ms old while legs are open."""
        cdef Counters copy
        cdef uint32_t before
        while True:
            before = load_acquire_32(&self.native.counters_sequence)
            copy = self.native.counters
            fence_acquire()
            if not before & 1 and load_relaxed_32(&self.native.counters_sequence) == before:
                return copy

    @property
    def unanswered(self) -> int:
        return len(self.pending)
