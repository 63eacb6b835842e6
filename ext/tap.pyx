"""Tap rings: the way of captured packets from the worker to the recording writer without a lock.

Owns the record layout (tap.pxd). The worker pays one copy; checksums are made on the reader's thread. A full ring loses
new records, never half of one, and says how many.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport exchange_32, load_acquire_64, load_relaxed_64, store_release_64
from mediaserver.ext.crc cimport crc32
from mediaserver.ext.rtp cimport rtp_units

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* p, int for_writing) noexcept nogil

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** made, size_t alignment, size_t size)

cdef enum:
    LINE_BYTES = 64
    SYNC = 0x50545352
    KIND_RTP = 1


cdef Tap* tap_new(uint64_t size) noexcept nogil:
    cdef Tap* t
    if posix_memalign(<void**>&t, LINE_BYTES, sizeof(Tap)) != 0:
        return NULL
    memset(t, 0, sizeof(Tap))
    t.size = size
    t.ring = <uint8_t*>malloc(size)
    if t.ring is NULL:
        free(t)
        return NULL
    return t


cdef void tap_free(Tap* t) noexcept nogil:
    if t is not NULL:
        free(t.ring)
        free(t)


cdef void copy_in(Tap* t, uint64_t at, const uint8_t* data, int64_t size) noexcept nogil:
    cdef int64_t offset = (at - t.base) & (t.size - 1)
    cdef int64_t first = t.size - offset
    if first > size:
        first = size
    memcpy(t.ring + offset, data, first)
    memcpy(t.ring, data + first, size - first)


cdef void copy_out(const Tap* t, uint64_t at, uint8_t* out, int64_t size) noexcept nogil:
    cdef int64_t offset = (at - t.base) & (t.size - 1)
    cdef int64_t first = t.size - offset
    if first > size:
        first = size
    memcpy(out, t.ring + offset, first)
    memcpy(out + first, t.ring, size - first)


cdef void put_le(uint8_t* p, uint64_t value, int bytes_wide) noexcept nogil:
    cdef int i
    for i in range(bytes_wide):
        p[i] = <uint8_t>(value >> (8 * i))


cdef int tap_write(Tap* t, const Packet* packet, int flags) noexcept nogil:
    return tap_put(t, packet.arrival_ns, flags, packet.data, packet.size, NULL, 0)


cdef int tap_put(Tap* t, int64_t arrival_ns, int flags, const uint8_t* head, int head_size, const uint8_t* body,
                 int body_size) noexcept nogil:
    cdef uint64_t tail = load_relaxed_64(&t.tail)
    cdef uint8_t header[TAP_HEADER_BYTES]
    cdef uint64_t read_until = load_acquire_64(&t.head)
    cdef int64_t size = TAP_HEADER_BYTES + head_size + body_size
    if read_until == tail:
        # Nothing is in it, so nobody reads: begin anew at its start. The same few lines of memory are used again and
        # again then, and stay in the cache; a thousand rings of 256 KiB would not.
        t.base = tail
    if tail - read_until + size > t.size:
        t.lost += 1
        t.behind = 1
        return -1
    if t.behind:
        t.behind = 0
        flags |= TAP_FLAG_AFTER_LOSS
    memset(header, 0, sizeof(header))
    put_le(header, SYNC, 4)
    put_le(header + 4, TAP_HEADER_BYTES, 2)
    put_le(header + 6, head_size + body_size, 2)
    header[8] = KIND_RTP
    header[9] = <uint8_t>flags
    put_le(header + 16, <uint64_t>arrival_ns, 8)
    put_le(header + 24, t.lost, 4)
    copy_in(t, tail, header, TAP_HEADER_BYTES)
    copy_in(t, tail + TAP_HEADER_BYTES, head, head_size)
    if body_size:
        copy_in(t, tail + TAP_HEADER_BYTES + head_size, body, body_size)
    t.packets += 1
    store_release_64(&t.tail, tail + size)
    return 0


cdef int64_t tap_read(Tap* t, uint8_t* out, int64_t capacity) noexcept nogil:
    cdef uint64_t head = load_relaxed_64(&t.head)
    cdef uint64_t tail = load_acquire_64(&t.tail)
    cdef int64_t written = 0
    cdef int64_t size
    cdef uint8_t sizes[4]
    while head != tail:
        copy_out(t, head + 4, sizes, 4)
        size = (sizes[0] | (sizes[1] << 8)) + (sizes[2] | (sizes[3] << 8))
        if written + size > capacity:
            break
        copy_out(t, head, out + written, size)
        put_le(out + written + 12, crc32(out + written, size), 4)
        written += size
        head += size
    if written:
        store_release_64(&t.head, head)
    return written


cdef int64_t tap_take(Tap* t, uint8_t* out, int64_t* size, int64_t capacity, const Window* window, int64_t* oldest_ns,
                      uint64_t* outside) noexcept nogil:
    cdef uint64_t head = load_relaxed_64(&t.head)
    cdef uint64_t before = head
    cdef uint64_t tail = load_acquire_64(&t.tail)
    # Read after the tail: a packet that arrived after the end of permission was told is never taken for an earlier one.
    cdef int64_t until_ns = <int64_t>load_acquire_64(<const uint64_t*>&window.until_ns)
    cdef int64_t packets = 0
    cdef int64_t bytes_of
    cdef int64_t arrival_ns
    cdef uint8_t* record
    while head != tail and size[0] + TAP_HEADER_BYTES <= capacity:
        record = out + size[0]
        copy_out(t, head, record, TAP_HEADER_BYTES)
        bytes_of = TAP_HEADER_BYTES + (record[6] | (record[7] << 8))
        if size[0] + bytes_of > capacity:
            break
        memcpy(&arrival_ns, record + 16, 8)  # little-endian like every machine this runs on
        if window.from_ns <= arrival_ns < until_ns:
            copy_out(t, head + TAP_HEADER_BYTES, record + TAP_HEADER_BYTES, bytes_of - TAP_HEADER_BYTES)
            put_le(record + 12, crc32(record, bytes_of), 4)
            if arrival_ns < oldest_ns[0]:
                oldest_ns[0] = arrival_ns
            size[0] += bytes_of
            packets += 1
        else:
            outside[0] += 1
        head += bytes_of
    if head != before:
        store_release_64(&t.head, head)
    return packets


cdef void tap_begin(Tap* t, const RtpReceiver* r, int64_t now_ns, int64_t one_way_ns) noexcept nogil:
    # Arrival times alone do not tell what was said during a pause and came late. The source's own clock does: what it
    # would stamp a packet with that arrives now, and how much later it stamps what it sends now.
    if not r.started or not r.transit_known or r.clock_hz <= 0:
        return
    t.floor_until_ns = now_ns + <int64_t>TAP_FLOOR_MS * 1000000
    t.floor_ssrc = r.ssrc
    t.floor_clock_hz = r.clock_hz
    t.floor_timestamp = <uint32_t>rtp_units(now_ns + one_way_ns, r.clock_hz) - <uint32_t>r.transit


cdef bint tap_too_old(Tap* t, const Packet* packet, int clock_hz) noexcept nogil:
    cdef int32_t behind = <int32_t>(t.floor_timestamp - packet.timestamp)
    if packet.arrival_ns >= t.floor_until_ns:
        t.floor_until_ns = 0
        return False
    if packet.ssrc != t.floor_ssrc or clock_hz != t.floor_clock_hz:
        return False
    return 0 < behind <= clock_hz // 1000 * TAP_FLOOR_MS


cdef void tap_prefetch(const Tap* t) noexcept nogil:
    cdef uint64_t head = load_relaxed_64(&t.head)
    cdef int line
    if head != load_relaxed_64(&t.tail):
        for line in range(4):
            prefetch(t.ring + ((head - t.base + 64 * line) & (t.size - 1)), 0)


cdef class TapRing:
    """One tap's ring. `drain` belongs to one reading thread; the rest to the event loop's."""

    def __cinit__(self, uint64_t handle, bint video=False):
        self.tap = tap_new(TAP_VIDEO_RING_BYTES if video else TAP_RING_BYTES)
        if self.tap is NULL:
            raise MemoryError("no memory for a tap's ring")
        self.tap.handle = handle

    def __dealloc__(self):
        tap_free(self.tap)

    def drain(self, into) -> int:
        """Moves whole records into a writable buffer, without the GIL; bytes written, 0 when empty."""
        cdef uint8_t[::1] out = into
        cdef int64_t size = out.shape[0]
        if size == 0:
            return 0
        with nogil:
            size = tap_read(self.tap, &out[0], size)
        return size

    def take_loss(self) -> int:
        """Records lost so far; the next loss is told anew."""
        exchange_32(&self.tap.changes, 0)
        return self.tap.lost

    @property
    def handle(self) -> int:
        return self.tap.handle
