"""The Python face of one media worker: allocates what commands carry, frees what replies bring back, reads statistics.

Used from one thread, the event loop's; only `run` belongs to the worker's own thread. Handles are integers with a
generation; whatever is late gets a reply with STALE_HANDLE. Follows ext/channel.pxd.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from mediaserver.ext.atomic cimport exchange_32, fence_acquire, load_acquire_32, load_acquire_64, load_relaxed_32, store_release_32
from mediaserver.ext.bridge cimport BRIDGE_ROWS_START, Bridge, bridge_free, bridge_new
from mediaserver.ext.channel cimport (
    CHANGED_BRIDGE,
    CHANGED_LEG,
    CHANGED_TAP,
    EVENT_DIGIT,
    NOTE_PLAY_ENDED,
    OP_BRIDGE_ADD,
    OP_BRIDGE_REMOVE,
    OP_CLOSE_BRIDGE,
    OP_CLOSE_LEG,
    OP_CLOSE_TAP,
    OP_DETACH_LEG,
    OP_GROW_BRIDGE,
    OP_OPEN_BRIDGE,
    OP_OPEN_LEG,
    OP_OPEN_TAP,
    OP_PLAY,
    OP_PUBLISH,
    OP_REPORT_DIGIT,
    OP_SEND_DTMF,
    OP_SET_GAIN,
    OP_SET_HEARS,
    OP_SET_MUTE,
    OP_SET_STREAM,
    OP_STOP_PLAY,
    STATUS_OK,
    Command,
    Message,
    command_push,
    message_pop,
)
from mediaserver.ext.context cimport Counters
from mediaserver.ext.digits cimport digits_init
from mediaserver.ext.dtmf cimport tone_init
from mediaserver.ext.keypad cimport KEYPAD_PRESSES_MAX, DtmfOrder
from mediaserver.ext.leg cimport CHANGE_SILENCE, CHANGE_SOURCE, Leg, LegSnapshot, StreamChange
from mediaserver.ext.memnet cimport MemoryNetwork
from mediaserver.ext.mix cimport speaker_init
from mediaserver.ext.net cimport UdpNetwork, udp_wake
from mediaserver.ext.player cimport TONE_RATE_HZ, Play
from mediaserver.ext.rtp cimport rtp_sender_init
from mediaserver.ext.stream cimport StreamOptions, change_free, change_new, leg_free, snapshot_to_python
from mediaserver.ext.tap cimport TapRing
from mediaserver.ext.worker cimport Worker as NativeWorker
from mediaserver.ext.worker cimport worker_free, worker_init, worker_run, worker_step

from mediaserver.errors import QueueFull, StaleHandle


cdef class HandleTable:
    """Which indexes of a table are taken, by whom (generation), and the pointer there. Control side only."""

    cdef list free_indexes
    cdef list generations
    cdef dict pointers
    cdef uint64_t kind                 # bits above the generation: handles of two tables never look alike

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

    cdef Leg* leg
    cdef object settings
    cdef dict plays
    cdef list taps

    def __dealloc__(self):
        leg_free(self.leg)


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
    cdef dict plays                    # play id -> (leg handle, samples): they live as long as the worker reads them
    cdef dict taps                     # leg handle -> TapRings the worker writes to
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
        self.legs = HandleTable(legs_max, 0)
        self.bridges = HandleTable(bridges_max, 1)
        self.pending = {}
        self.settings = {}
        self.plays = {}
        self.taps = {}
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
        leg.ticking_index = -1
        digits_init(&leg.digits)
        speaker_init(&leg.speaker)
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

    def play(self, uint64_t leg, bytes samples, int rate_hz, *, uint64_t play_id, bint loop, int gain_q12,
             int64_t start) -> int:
        """samples: int16 native order at 8, 16 or 48 kHz. Ends with ("play_ended", leg, play_id, completed)."""
        cdef Play* play
        if rate_hz not in (8000, 16000, 48000) or len(samples) % 2:
            raise ValueError("a prompt is int16 samples at 8000, 16000 or 48000 Hz")
        play = <Play*>calloc(1, sizeof(Play))
        if play is NULL:
            raise MemoryError
        play.id = play_id
        play.samples = <const int16_t*>PyBytes_AS_STRING(samples)
        play.count = len(samples) // 2
        play.position = min(max(start, 0), play.count)
        play.rate_hz = rate_hz
        play.loop = loop and play.count > 0
        play.gain_q12 = gain_q12
        return self.submit_play(leg, play, samples)

    def play_tone(self, uint64_t leg, frequencies_hz, cadence_ms, double level_dbm0, int repeats, *,
                  uint64_t play_id) -> int:
        """Up to four sines, up to eight times on and off; repeats 0: until stopped."""
        cdef double frequencies[4]
        cdef int32_t cadence[8]
        cdef Play* play
        if not 1 <= len(frequencies_hz) <= 4 or len(cadence_ms) > 8:
            raise ValueError("a tone has one to four frequencies and at most eight cadence times")
        for i, value in enumerate(frequencies_hz):
            frequencies[i] = value
        for i, value in enumerate(cadence_ms):
            cadence[i] = value
        play = <Play*>calloc(1, sizeof(Play))
        if play is NULL:
            raise MemoryError
        play.id = play_id
        play.rate_hz = TONE_RATE_HZ
        tone_init(&play.tone, TONE_RATE_HZ, frequencies, len(frequencies_hz), level_dbm0, cadence, len(cadence_ms), repeats)
        return self.submit_play(leg, play, None)

    cdef uint64_t submit_play(self, uint64_t leg, Play* play, samples) except 0:
        cdef Command c = self.command(OP_PLAY, leg)
        c.data = play
        try:
            self.legs.get(leg)
            self.submit(&c)
        except BaseException:
            free(play)
            raise
        self.plays[play.id] = (leg, samples)
        return c.id

    def stop_play(self, uint64_t leg) -> int:
        return self.leg_command(OP_STOP_PLAY, leg, 0, 0)

    def send_dtmf(self, uint64_t leg, bytes digits, int duration_ms, int gap_ms) -> int:
        """All of the digits or, with STATUS_FULL, none."""
        cdef Command c = self.command(OP_SEND_DTMF, leg)
        cdef DtmfOrder* order
        if len(digits) > KEYPAD_PRESSES_MAX:
            raise QueueFull(f"{len(digits)} digits at once; at most {KEYPAD_PRESSES_MAX} wait on one leg")
        self.legs.get(leg)
        order = <DtmfOrder*>calloc(1, sizeof(DtmfOrder))
        if order is NULL:
            raise MemoryError
        for i, digit in enumerate(digits):
            order.digits[i] = digit
        order.count = len(digits)
        order.duration_ms = duration_ms
        order.gap_ms = gap_ms
        c.data = order
        try:
            return self.submit(&c)
        except BaseException:
            free(order)
            raise

    def report_digit(self, uint64_t leg, int digit) -> int:
        """A digit of this leg came by signalling: told as ("digit", …) unless the media brought the same press."""
        return self.leg_command(OP_REPORT_DIGIT, leg, digit, 0)

    def open_tap(self, uint64_t leg, TapRing ring) -> int:
        cdef Command c = self.command(OP_OPEN_TAP, leg)
        self.legs.get(leg)
        c.data = ring.tap
        c.value = ring.tap.handle
        self.submit(&c)
        self.taps.setdefault(leg, []).append(ring)
        return c.id

    def close_tap(self, uint64_t leg, TapRing ring) -> int:
        cdef Command c = self.command(OP_CLOSE_TAP, leg)
        self.legs.get(leg)
        c.data = ring.tap
        c.value = ring.tap.handle
        return self.submit(&c)

    def detach_leg(self, uint64_t leg) -> int:
        """The reply's result is a DetachedLeg for another worker's adopt_leg."""
        return self.leg_command(OP_DETACH_LEG, leg, 0, 0)

    def adopt_leg(self, DetachedLeg detached) -> tuple[int, int]:
        """(command id, the leg's handle in this worker)."""
        cdef Leg* leg = detached.leg
        cdef Command c
        leg.handle = self.legs.take(leg)
        c = self.command(OP_OPEN_LEG, leg.handle)
        c.data = leg
        try:
            self.submit(&c)
        except BaseException:
            self.legs.drop(leg.handle)
            raise
        detached.leg = NULL
        self.settings[leg.handle] = detached.settings
        self.plays.update({play_id: (leg.handle, samples) for play_id, (_, samples) in detached.plays.items()})
        self.taps[leg.handle] = detached.taps
        return c.id, leg.handle

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
        ("source", leg, (host, port)), ("silence", leg, silent), ("play_ended", leg, play_id, completed),
        ("tap_behind", tap), ("speaker", bridge, leg)."""
        cdef Message m
        out: list[tuple] = []
        store_release_32(&self.native.bell_rung, 0)
        while message_pop(&self.native.ctx.replies, &m):
            out.append(self.play_ended(&m) if m.kind == NOTE_PLAY_ENDED else self.reply(&m))
        while message_pop(&self.native.ctx.events, &m):
            if m.kind == EVENT_DIGIT:
                out.append(("digit", m.handle, chr(m.value), m.extra, m.flag))
        while message_pop(&self.native.ctx.changes, &m):
            if m.kind == CHANGED_LEG:
                self.leg_changes(m.handle, out)
            elif m.kind == CHANGED_BRIDGE:
                self.bridge_changes(m.handle, out)
            elif m.kind == CHANGED_TAP:
                out.append(("tap_behind", m.handle))
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

    cdef int bridge_changes(self, uint64_t handle, list out) except -1:
        cdef Bridge* bridge
        if handle in self.bridges.pointers:
            bridge = <Bridge*>self.bridges.get(handle)
            exchange_32(&bridge.changes, 0)
            out.append(("speaker", handle, load_acquire_64(&bridge.speaker_handle)))
        return 0

    cdef tuple play_ended(self, Message* m):
        cdef Play* play = <Play*>m.data
        play_id = play.id
        free(play)
        self.plays.pop(play_id, None)
        return "play_ended", m.handle, play_id, bool(m.flag)

    cdef object detached(self, Message* m):
        cdef DetachedLeg out = DetachedLeg.__new__(DetachedLeg)
        out.leg = <Leg*>m.data
        out.settings = self.settings.pop(m.handle, None)
        out.plays = {play_id: kept for play_id, kept in self.plays.items() if kept[0] == m.handle}
        for play_id in out.plays:
            del self.plays[play_id]
        out.taps = self.taps.pop(m.handle, [])
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
        for members in self.members.values():
            members.discard(handle)
        return 0

    cdef tuple reply(self, Message* m):
        cdef int operation = self.pending.pop(m.id)
        result = None
        if operation == OP_SET_STREAM:
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
        elif operation == OP_CLOSE_TAP or (operation == OP_OPEN_TAP and m.status != STATUS_OK):
            self.forget_tap(m.handle, m.data)
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
