"""One worker's post office on the control side: handles, unanswered commands, replies, events, statistics.

Used from one thread, the event loop's; only `run` belongs to the worker's own thread. Frees what replies bring back.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from mediaserver.ext.atomic cimport (
    exchange_32,
    fence_acquire,
    load_acquire_32,
    load_acquire_64,
    load_relaxed_32,
    store_release_32,
)
from mediaserver.ext.bridge cimport Bridge, bridge_free
from mediaserver.ext.channel cimport (
    CHANGED_BRIDGE,
    CHANGED_CONN,
    CHANGED_LEG,
    CHANGED_TAP,
    CHANGED_VIDEO,
    EVENT_DIGIT,
    NOTE_PLAY_ENDED,
    OP_BIND,
    OP_CLOSE_BRIDGE,
    OP_CLOSE_CONN,
    OP_CLOSE_LEG,
    OP_CLOSE_PORT,
    OP_CLOSE_TAP,
    OP_CLOSE_TRACK,
    OP_CLOSE_TRACK_TAP,
    OP_DETACH_LEG,
    OP_GROW_BRIDGE,
    OP_LIMIT_TRACK,
    OP_OPEN_PORT,
    OP_OPEN_TAP,
    OP_OPEN_TRACK,
    OP_OPEN_TRACK_TAP,
    OP_PLAY,
    OP_SEND_CONN,
    OP_SEND_DTMF,
    OP_SET_PROCESSING,
    OP_SET_STREAM,
    OP_SET_TRACK,
    STATUS_OK,
    Command,
    Message,
    command_push,
    message_pop,
)
from mediaserver.ext.conn cimport CONN_TAG_KIND, Conn
from mediaserver.ext.context cimport Counters
from mediaserver.ext.datagram cimport Datagram, datagram_done, datagram_peek
from mediaserver.ext.leg cimport CHANGE_SILENCE, CHANGE_SOURCE, Leg, LegSnapshot, StreamChange
from mediaserver.ext.net cimport Address, UdpNetwork, address_to_python, udp_wake
from mediaserver.ext.play cimport Play, play_range
from mediaserver.ext.port cimport PORT_TAG_KIND, Port, port_free
from mediaserver.ext.processing cimport LegVoice, processing_free
from mediaserver.ext.state cimport CONNS_PER_WORKER_MAX, PORTS_PER_WORKER_MAX
from mediaserver.ext.stream cimport change_free, leg_free, snapshot_to_python
from mediaserver.ext.tap cimport TapRing
from mediaserver.ext.video_commands cimport TrackOpening
from mediaserver.ext.video_leg cimport VideoLeg, video_leg_free
from mediaserver.ext.video_setup cimport track_snapshot_to_python
from mediaserver.ext.video_track cimport (
    NO_LAYER,
    TRACK_ACTIVE,
    TRACK_KEY_FRAME,
    TRACK_LAYER,
    Track,
    TrackChange,
    track_change_free,
    track_free,
)
from mediaserver.ext.worker cimport worker_free, worker_init, worker_run, worker_step

from mediaserver.errors import QueueFull, StaleHandle


cdef class HandleTable:
    """Which indexes of a table are taken, by whom (generation), and the pointer there. Control side only."""

    def __init__(self, int size, uint64_t kind):
        self.kind = kind << 56
        self.free_indexes = list(range(size - 1, -1, -1))
        self.generations = [0] * size
        self.pointers = {}

    cdef uint64_t take(self, void* pointer) except 0:
        if not self.free_indexes:
            raise QueueFull(f"all {len(self.generations)} places of this media worker are taken; raise media.workers")
        index = self.free_indexes.pop()
        self.generations[index] += 1
        cdef uint64_t handle = self.kind | (<uint64_t>self.generations[index] << 16) | <uint64_t>index
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


cdef class DetachedLeg:
    """A whole leg between two workers: everything it owns, and what of Python's must live as long."""

    def __dealloc__(self):
        leg_free(self.leg)

    def use_socket(self, int rtp_socket, bint shares_port, int second_socket) -> None:
        """Of a leg with a port: the socket it has from now on, the port's shared one or one connected to its browser;
        then with a second one, connected to another address of the browser's, else -1."""
        self.leg.rtcp_socket = second_socket
        self.leg.rtp_socket = rtp_socket
        self.leg.shares_port = shares_port


cdef class DetachedConn:
    """A TCP connection that no worker has, with what was half read and half sent."""

    def __dealloc__(self):
        free(self.conn)

    @property
    def frames_dropped(self) -> int:
        return self.conn.frames_dropped


cdef class Mailbox:
    """The half of Worker (ext/control) that does not give commands."""

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
        self.legs = HandleTable(legs_max, 0)
        self.bridges = HandleTable(bridges_max, 1)
        self.ports = HandleTable(PORTS_PER_WORKER_MAX, PORT_TAG_KIND)
        self.conns = HandleTable(CONNS_PER_WORKER_MAX, CONN_TAG_KIND)
        self.pending = {}
        self.settings = {}
        self.plays = {}
        self.taps = {}
        self.tracks = {}
        self.with_video = set()
        self.members = {}
        self.bridge_of = {}
        self.capacity = {}
        self.queue_size = queue_size
        self.next_id = 0

    def __dealloc__(self):
        for pointer in self.legs.pointers.values() if self.legs is not None else ():
            leg_free(<Leg*><size_t>pointer)
        for pointer in self.bridges.pointers.values() if self.bridges is not None else ():
            bridge_free(<Bridge*><size_t>pointer)
        for pointer in self.ports.pointers.values() if self.ports is not None else ():
            port_free(<Port*><size_t>pointer)
        for pointer in self.conns.pointers.values() if self.conns is not None else ():
            free(<void*><size_t>pointer)
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
            raise QueueFull(f"{self.queue_size} commands wait for the media worker: try again later, or less often")
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

    # --- what comes back

    def drain(self) -> list[tuple]:
        """Everything the worker has said since: ("reply", id, status, result), ("digit", leg, digit, ms, source),
        ("source", leg, (host, port)), ("silence", leg, silent), ("play_ended", leg, play_id, completed, sent),
        ("tap_behind", tap), ("speaker", bridge, leg), ("datagram", leg or port or connection, (host, port[, via]),
        bytes), ("conn_closed", connection),
        ("track_active", leg, track, active), ("layer", leg, track, layer or None), ("key_frame", leg, track)."""
        cdef Message m
        cdef const Datagram* datagram
        cdef Address source
        out: list[tuple] = []
        store_release_32(&self.native.bell_rung, 0)
        while message_pop(&self.native.ctx.replies, &m):
            out.append(self.play_ended(&m) if m.kind == NOTE_PLAY_ENDED else self.reply(&m))
        while message_pop(&self.native.ctx.events, &m):
            if m.kind == EVENT_DIGIT:
                out.append(("digit", m.handle, chr(m.value), m.extra, m.flag))
        while (datagram := datagram_peek(&self.native.ctx.datagrams)) is not NULL:
            source = datagram.source
            out.append(("datagram", datagram.handle, address_to_python(&source), datagram.data[:datagram.size]))
            datagram_done(&self.native.ctx.datagrams)
        while message_pop(&self.native.ctx.changes, &m):
            if m.kind == CHANGED_LEG:
                self.leg_changes(m.handle, out)
            elif m.kind == CHANGED_BRIDGE:
                self.bridge_changes(m.handle, out)
            elif m.kind == CHANGED_TAP:
                out.append(("tap_behind", m.handle))
            elif m.kind == CHANGED_CONN:
                out.append(("conn_closed", m.handle))
            elif m.kind == CHANGED_VIDEO:
                self.video_changes(m.handle, out)
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

    cdef int video_changes(self, uint64_t handle, list out) except -1:
        cdef Track* track
        cdef uint32_t bits
        if handle not in self.legs.pointers:
            return 0
        exchange_32(&(<VideoLeg*>(<Leg*>self.legs.get(handle)).video).changes, 0)
        for track_id, (pointer, _) in self.tracks.get(handle, {}).items():
            track = <Track*><size_t>pointer
            bits = exchange_32(&track.changes, 0)
            if bits & TRACK_ACTIVE:
                out.append(("track_active", handle, track_id, bool(track.active)))
            if bits & TRACK_LAYER:
                out.append(("layer", handle, track_id, None if track.told_layer == NO_LAYER else track.told_layer))
            if bits & TRACK_KEY_FRAME:
                out.append(("key_frame", handle, track_id))
        return 0

    cdef int bridge_changes(self, uint64_t handle, list out) except -1:
        cdef Bridge* bridge
        if handle in self.bridges.pointers:
            bridge = <Bridge*>self.bridges.get(handle)
            exchange_32(&bridge.changes, 0)
            out.append(("speaker", handle, load_acquire_64(&bridge.speaker_handle)))
        return 0

    cdef tuple play_ended(self, Message* m):
        cdef Play* play = <Play*>m.data
        play_id, sent = play.id, play_range(play)
        free(play)
        self.plays.pop(play_id, None)
        return "play_ended", m.handle, play_id, bool(m.flag), sent

    cdef object detached(self, Message* m):
        cdef DetachedLeg out = DetachedLeg.__new__(DetachedLeg)
        out.leg = <Leg*>m.data
        out.settings = self.settings.pop(m.handle, None)
        out.plays = {play_id: kept for play_id, kept in self.plays.items() if kept[0] == m.handle}
        for play_id in out.plays:
            del self.plays[play_id]
        out.taps = self.taps.pop(m.handle, [])
        out.tracks = self.tracks.pop(m.handle, {})
        out.with_video = m.handle in self.with_video
        self.forget_leg(m.handle)
        return out

    cdef int forget_tap(self, uint64_t leg, void* tap) except -1:
        for ring in self.taps.get(leg, ()):
            if (<TapRing>ring).tap is tap:
                self.taps[leg].remove(ring)
                break
        return 0

    cdef int forget_leg(self, uint64_t handle) except -1:
        self.legs.drop(handle)
        self.settings.pop(handle, None)
        self.taps.pop(handle, None)
        self.tracks.pop(handle, None)
        self.with_video.discard(handle)
        bridge = self.bridge_of.pop(handle, None)
        if bridge in self.members:
            self.members[bridge].discard(handle)
        return 0

    cdef object gate_reply(self, int operation, Message* m):
        """Of a command for a port or connection: its result."""
        cdef DetachedConn out = None
        if operation == OP_BIND or operation == OP_SEND_CONN:
            free(m.data)
        elif operation == OP_CLOSE_PORT and m.status == STATUS_OK:
            self.ports.drop(m.handle)
            port_free(<Port*>m.data)
        elif operation == OP_CLOSE_CONN and m.status == STATUS_OK:
            self.conns.drop(m.handle)
            out = DetachedConn.__new__(DetachedConn)
            out.conn = <Conn*>m.data
        return out

    cdef tuple reply(self, Message* m):
        cdef int operation = self.pending.pop(m.id)
        result = None
        if operation >= OP_OPEN_PORT:
            result = self.gate_reply(operation, m)
        elif operation == OP_SET_STREAM:
            change_free(<StreamChange*>m.data)
        elif operation == OP_CLOSE_LEG and m.status == STATUS_OK:
            result = self.leg_stats(m.handle)
            self.forget_leg(m.handle)
            leg_free(<Leg*>m.data)
        elif operation == OP_DETACH_LEG and m.status == STATUS_OK:
            result = self.detached(m)
        elif operation == OP_PLAY and m.status != STATUS_OK:
            self.plays.pop((<Play*>m.data).id, None)
            free(m.data)
        elif operation == OP_SEND_DTMF:
            free(m.data)
        elif operation == OP_SET_PROCESSING:
            processing_free(<LegVoice*>m.data)
        elif operation in (OP_CLOSE_TAP, OP_CLOSE_TRACK_TAP) or (
                operation in (OP_OPEN_TAP, OP_OPEN_TRACK_TAP) and m.status != STATUS_OK):
            self.forget_tap(m.handle, m.data)
        elif operation == OP_CLOSE_BRIDGE and m.status == STATUS_OK:
            self.bridges.drop(m.handle)
            self.capacity.pop(m.handle, None)
            bridge_free(<Bridge*>m.data)
        elif operation == OP_GROW_BRIDGE:
            bridge_free(<Bridge*>m.data)
        elif operation >= OP_OPEN_TRACK:
            result = self.track_reply(operation, m)
        return "reply", m.id, m.status, result

    cdef object track_reply(self, int operation, Message* m):
        cdef TrackOpening* opening
        cdef Track* track
        if operation == OP_OPEN_TRACK:
            opening = <TrackOpening*>m.data
            if opening.track is not NULL:          # refused: it is nobody's
                self.tracks.get(m.handle, {}).pop(opening.track.id, None)
                track_free(opening.track)
            video_leg_free(opening.video)
            free(opening)
        elif operation == OP_SET_TRACK:
            track_change_free(<TrackChange*>m.data)
        elif operation == OP_LIMIT_TRACK:
            free(m.data)
        elif operation == OP_CLOSE_TRACK and m.status == STATUS_OK:
            track = <Track*>m.data
            result = track_snapshot_to_python(track)
            self.tracks.get(m.handle, {}).pop(track.id, None)
            track_free(track)
            return result
        return None

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

    @property
    def gathering_ns(self):
        return self.native.pace_ns
