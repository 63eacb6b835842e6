"""The commands of one media worker as Python gives them: each allocates what its command carries.

Used from the event loop's thread only. Every method returns the command's id; the reply comes out of `drain`
(ext/mailbox) exactly once. Follows ext/channel.pxd.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from mediaserver.ext.bridge cimport BRIDGE_ROWS_START, Bridge, bridge_free, bridge_new
from mediaserver.ext.channel cimport (
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
    OP_SET_PROCESSING,
    OP_SET_STREAM,
    OP_STOP_PLAY,
    Command,
)
from mediaserver.ext.datagram cimport DATAGRAMS_PER_LEG_MAX
from mediaserver.ext.digits cimport digits_init
from mediaserver.ext.keypad cimport KEYPAD_PRESSES_MAX, DtmfOrder
from mediaserver.ext.leg cimport Leg, StreamChange
from mediaserver.ext.levels cimport levels_init
from mediaserver.ext.mailbox cimport DetachedLeg
from mediaserver.ext.mix cimport speaker_init
from mediaserver.ext.play cimport Play, play_new_samples, play_new_tone
from mediaserver.ext.processing cimport LegVoice, ProcessingConfig, processing_free, processing_new
from mediaserver.ext.rtp cimport rtp_sender_init
from mediaserver.ext.stream cimport change_free, change_new
from mediaserver.ext.tap cimport TapRing
from mediaserver.ext.video_desk cimport TrackDesk

from mediaserver.errors import QueueFull


cdef class Worker(TrackDesk):
    """One worker. Raises QueueFull when `queue_size` commands are unanswered, StaleHandle for a handle that is known to
    be closed."""

    def open_leg(self, int rtp_socket, int rtcp_socket, uint32_t ssrc, uint16_t sequence, uint32_t timestamp,
                 bint datagrams=False, bint shares_port=False) -> tuple[int, int]:
        """(command id, leg handle). The sockets stay the caller's to close, after the reply to close_leg.

        datagrams: STUN and DTLS of the RTP socket come out of `drain`. shares_port: the RTP socket is an open port's.
        """
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
        leg.hands_datagrams = datagrams
        leg.shares_port = shares_port
        leg.by_ice = shares_port
        leg.datagrams_left = DATAGRAMS_PER_LEG_MAX
        leg.row = -1
        leg.gain_q12 = 4096
        leg.level = 127
        levels_init(&leg.levels)
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
        """samples: int16 native order at 8, 16 or 48 kHz. Ends with ("play_ended", leg, play_id, completed, sent):
        sent is (SSRC, first, last extended sequence number, packets) of what carried it, or None."""
        return self.submit_play(leg, play_new_samples(play_id, samples, rate_hz, loop, gain_q12, start), samples)

    def play_tone(self, uint64_t leg, frequencies_hz, cadence_ms, double level_dbm0, int repeats, *,
                  uint64_t play_id) -> int:
        """Up to four sines, up to eight times on and off; repeats 0: until stopped."""
        return self.submit_play(leg, play_new_tone(play_id, frequencies_hz, cadence_ms, level_dbm0, repeats), None)

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
        self.tracks[leg.handle] = detached.tracks
        if detached.with_video:
            self.with_video.add(leg.handle)
        return c.id, leg.handle

    def close_leg(self, uint64_t leg) -> int:
        """The reply's result is the leg's last statistics."""
        return self.leg_command(OP_CLOSE_LEG, leg, 0, 0)

    def set_gain(self, uint64_t leg, int gain_q12) -> int:
        return self.leg_command(OP_SET_GAIN, leg, gain_q12, 0)

    def set_mute(self, uint64_t leg, bint muted) -> int:
        return self.leg_command(OP_SET_MUTE, leg, 0, muted)

    def set_processing(self, uint64_t leg, config) -> int:
        """What is done to what this leg says: the fields of ext/processing ProcessingConfig; None: nothing."""
        cdef Command c = self.command(OP_SET_PROCESSING, leg)
        cdef ProcessingConfig native
        cdef LegVoice* processing = NULL
        self.legs.get(leg)
        if config is not None:
            native = config
            processing = processing_new(&native)
            if processing is NULL:
                raise MemoryError
        c.data = processing
        try:
            return self.submit(&c)
        except BaseException:
            processing_free(processing)
            raise

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
        command_id = self.bridge_command(OP_CLOSE_BRIDGE, bridge, 0, 0, 0)
        for leg in self.members.pop(bridge):
            self.bridge_of.pop(leg, None)
        return command_id

    def bridge_add(self, uint64_t bridge, uint64_t leg) -> int:
        self.bridges.get(bridge)
        members = self.members[bridge]
        if leg not in members and len(members) == self.capacity[bridge]:
            self.grow_bridge(bridge, max(64, 2 * self.capacity[bridge]))
        command_id = self.bridge_command(OP_BRIDGE_ADD, bridge, leg, 0, 0)
        if leg not in self.bridge_of:
            members.add(leg)
            self.bridge_of[leg] = bridge
        return command_id

    def bridge_remove(self, uint64_t bridge, uint64_t leg) -> int:
        command_id = self.bridge_command(OP_BRIDGE_REMOVE, bridge, leg, 0, 0)
        self.members[bridge].discard(leg)
        if self.bridge_of.get(leg) == bridge:
            del self.bridge_of[leg]
        return command_id

    def set_hears(self, uint64_t bridge, uint64_t listener, uint64_t speaker, bint hears) -> int:
        return self.bridge_command(OP_SET_HEARS, bridge, listener, speaker, hears)

    cdef uint64_t bridge_command(self, int operation, uint64_t bridge, uint64_t leg, uint64_t other,
                                 int flag) except 0:
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
