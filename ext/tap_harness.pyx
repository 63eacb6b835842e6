"""Tap rings filled without a network, for tests and benchmarks; none of it is in a packet's way.

`put` writes one packet as a worker would. A Feeder is a thousand calls: a packet of each leg every 20 ms, their phases
spread, at the moment the clock says so, without the GIL.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from mediaserver.ext.atomic cimport load_acquire_32, store_release_32
from mediaserver.ext.net cimport monotonic_ns
from mediaserver.ext.packet cimport PACKET_BYTES, Packet
from mediaserver.ext.tap cimport TAP_FLAG_AUDIO, Tap, TapRing, tap_write

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int us)

cdef enum:
    PTIME_NS = 20_000_000
    NAP_US = 1_000


cdef int fill(Packet* into, bytes data) except -1:
    if not 12 <= len(data) <= PACKET_BYTES:
        raise ValueError(f"an RTP packet is 12 to {PACKET_BYTES} bytes, not {len(data)}")
    into.size = <int>len(data)
    memcpy(into.data, PyBytes_AS_STRING(data), len(data))
    return 0


def put(TapRing ring, int64_t arrival_ns, bytes packet, int flags=TAP_FLAG_AUDIO) -> bool:
    """One packet into a ring, from the one thread that writes it. False: no room. Raises ValueError for its size."""
    cdef Packet slot
    fill(&slot, packet)
    slot.arrival_ns = arrival_ns
    return tap_write(ring.tap, &slot, flags) == 0


cdef class Feeder:
    """Writes `packet`, with counted sequence numbers, into each ring every 20 ms while `run` runs."""

    cdef list rings
    cdef int room
    cdef Tap** taps
    cdef int64_t* due
    cdef uint32_t count
    cdef Packet slot
    cdef volatile bint stopping
    cdef readonly int64_t packets
    cdef readonly int64_t refused
    cdef readonly int64_t writing_ns

    def __cinit__(self, int room, bytes packet):
        self.rings = []
        self.room = room
        self.taps = <Tap**>calloc(max(1, room), sizeof(Tap*))
        self.due = <int64_t*>calloc(max(1, room), sizeof(int64_t))
        if self.taps is NULL or self.due is NULL:
            raise MemoryError
        fill(&self.slot, packet)

    def __dealloc__(self):
        free(self.taps)
        free(self.due)

    def add(self, TapRing ring not None) -> None:
        """Fed from now on, until the end. Raises ValueError when there is no room."""
        cdef uint32_t count = self.count
        if <int>count == self.room:
            raise ValueError(f"this feeder has room for {self.room} rings")
        self.rings.append(ring)
        self.taps[count] = ring.tap
        self.due[count] = monotonic_ns() + <int64_t>count * 7_919_000 % PTIME_NS
        store_release_32(&self.count, count + 1)

    def run(self) -> None:
        """Until `stop`; for a thread of its own."""
        with nogil:
            while not self.stopping:
                self.turn()
                usleep(NAP_US)

    cdef void turn(self) noexcept nogil:
        cdef int64_t now = monotonic_ns()
        cdef int64_t number
        cdef uint32_t count = load_acquire_32(&self.count)
        cdef uint32_t i
        self.slot.arrival_ns = now
        for i in range(count):
            if self.due[i] > now:
                continue
            number = self.due[i] // PTIME_NS
            self.slot.data[2] = <uint8_t>(number >> 8)
            self.slot.data[3] = <uint8_t>number
            self.due[i] += PTIME_NS
            self.packets += 1
            if tap_write(self.taps[i], &self.slot, TAP_FLAG_AUDIO) < 0:
                self.refused += 1
        self.writing_ns += monotonic_ns() - now

    def stop(self) -> None:
        self.stopping = True
