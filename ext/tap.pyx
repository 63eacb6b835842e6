"""Tap rings: the way of captured packets from the worker to the recording writer without a lock.

Owns the record layout (tap.pxd). The worker pays one copy; checksums are made on the reader's thread. A full ring loses
new records, never half of one, and says how many.
"""

from libc.errno cimport errno
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport exchange_32, load_acquire_64, load_relaxed_64, store_release_64
from mediaserver.ext.crc cimport crc32
from mediaserver.ext.rtp cimport rtp_units

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* p, int for_writing) noexcept nogil

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** made, size_t alignment, size_t size)

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <fcntl.h>
    #include <sys/mman.h>
    #include <unistd.h>
    """
    int fallocate(int fd, int mode, int64_t offset, int64_t size) nogil
    int ftruncate(int fd, int64_t size) nogil
    void* mmap(void* at, size_t size, int protection, int flags, int fd, int64_t offset) nogil
    int munmap(void* at, size_t size) nogil
    int close(int fd) nogil
    int FALLOC_FL_PUNCH_HOLE, FALLOC_FL_KEEP_SIZE, PROT_READ, PROT_WRITE, MAP_SHARED, MAP_NORESERVE
    void* MAP_FAILED

cdef enum:
    PAGE_BYTES = 4_096
    FIRST_BYTES = 2 * PAGE_BYTES       # of a slot: 0.7 s of G.711; a writer that comes in time needs no more
    SOUND_SLOT_BYTES = TAP_RING_BYTES + PAGE_BYTES
    VIDEO_SLOT_BYTES = TAP_VIDEO_RING_BYTES + PAGE_BYTES
    PREFETCHED_BYTES = 1_280           # six records of G.711
    LINE_BYTES = 64
    SYNC = 0x50545352
    KIND_RTP = 1


cdef inline uint8_t* ring_of(const Tap* t) noexcept nogil:
    return <uint8_t*>t + TAP_HEAD_BYTES


cdef Tap* tap_new(uint64_t size) noexcept nogil:
    cdef Tap* t
    if posix_memalign(<void**>&t, LINE_BYTES, TAP_HEAD_BYTES + size) != 0:
        return NULL
    memset(t, 0, TAP_HEAD_BYTES)
    t.size = t.backed = size
    t.pool_fd = -1
    return t


cdef void tap_free(Tap* t) noexcept nogil:
    free(t)


cdef int give_memory(Tap* t, uint64_t until) noexcept nogil:
    """Memory for the ring's first bytes, twice as many: only while a disk is slow. 0, or -1: there is none.

    Asked for before it is touched: a page of a full tmpfs that is touched without kills the process (SIGBUS).
    """
    cdef uint64_t wanted = until * 2 if until * 2 < t.size else t.size
    if t.pool_fd < 0 or fallocate(<int>t.pool_fd, 0, t.offset, TAP_HEAD_BYTES + wanted) != 0:
        return -1
    t.backed = wanted
    return 0


cdef void copy_in(Tap* t, uint64_t at, const uint8_t* data, int64_t size) noexcept nogil:
    cdef int64_t offset = (at - t.base) & (t.size - 1)
    cdef int64_t first = t.size - offset
    if first > size:
        first = size
    memcpy(ring_of(t) + offset, data, first)
    memcpy(ring_of(t), data + first, size - first)


cdef void copy_out(const Tap* t, uint64_t at, uint8_t* out, int64_t size) noexcept nogil:
    cdef int64_t offset = (at - t.base) & (t.size - 1)
    cdef int64_t first = t.size - offset
    if first > size:
        first = size
    memcpy(out, ring_of(t) + offset, first)
    memcpy(out + first, ring_of(t), size - first)


cdef void put_le(uint8_t* p, uint64_t value, int bytes_wide) noexcept nogil:
    cdef int i
    for i in range(bytes_wide):
        p[i] = <uint8_t>(value >> (8 * i))


cdef int tap_write(Tap* t, const Packet* packet, int flags) noexcept nogil:
    return tap_put(t, packet.arrival_ns, flags, packet.data, packet.size, NULL, 0)


cdef int tap_put(Tap* t, int64_t arrival_ns, int flags, const uint8_t* head, int head_size, const uint8_t* body,
                 int body_size) noexcept nogil:
    cdef uint64_t tail = load_relaxed_64(&t.tail)
    cdef uint64_t header[4]            # little-endian like every machine this runs on; the last is half used
    cdef uint64_t read_until = load_acquire_64(&t.head)
    cdef int64_t size = TAP_HEADER_BYTES + head_size + body_size
    cdef uint64_t until
    cdef uint8_t* p
    if read_until == tail:
        # Nothing is in it, so nobody reads: begin anew at its start. The same few lines of memory are used again and
        # again then, and stay in the cache; a thousand rings of 256 KiB would not.
        t.base = tail
    until = ((tail - t.base) & (t.size - 1)) + size
    if tail - read_until + size > t.size or (t.backed < t.size and until > t.backed and give_memory(t, until) < 0):
        t.lost += 1
        t.behind = 1
        return -1
    if t.behind:
        t.behind = 0
        flags |= TAP_FLAG_AFTER_LOSS
    header[0] = (SYNC | (<uint64_t>TAP_HEADER_BYTES << 32) | (<uint64_t>(head_size + body_size) << 48))
    header[1] = <uint64_t>(KIND_RTP | ((flags & 0xFF) << 8))
    header[2] = <uint64_t>arrival_ns
    header[3] = t.lost
    if until <= t.size:
        p = ring_of(t) + (until - size)
        memcpy(p, header, TAP_HEADER_BYTES)
        memcpy(p + TAP_HEADER_BYTES, head, head_size)
    else:
        copy_in(t, tail, <uint8_t*>header, TAP_HEADER_BYTES)
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


cdef int64_t tap_take(Tap* t, uint64_t* taken, uint8_t* out, int64_t* size, int64_t capacity, const Window* window,
                      int64_t* oldest_ns, uint64_t* outside) noexcept nogil:
    cdef uint64_t at = taken[0]
    cdef uint64_t tail = load_acquire_64(&t.tail)
    # Read after the tail: a packet that arrived after the end of permission was told is never taken for an earlier one.
    cdef int64_t until_ns = <int64_t>load_acquire_64(<const uint64_t*>&window.until_ns)
    cdef int64_t packets = 0
    cdef int64_t bytes_of
    cdef int64_t arrival_ns
    cdef uint8_t* record
    while at != tail and size[0] + TAP_HEADER_BYTES <= capacity:
        record = out + size[0]
        copy_out(t, at, record, TAP_HEADER_BYTES)
        bytes_of = TAP_HEADER_BYTES + (record[6] | (record[7] << 8))
        if size[0] + bytes_of > capacity:
            break
        memcpy(&arrival_ns, record + 16, 8)  # little-endian like every machine this runs on
        if window.from_ns <= arrival_ns < until_ns:
            copy_out(t, at + TAP_HEADER_BYTES, record + TAP_HEADER_BYTES, bytes_of - TAP_HEADER_BYTES)
            put_le(record + 12, crc32(record, bytes_of), 4)
            if arrival_ns < oldest_ns[0]:
                oldest_ns[0] = arrival_ns
            size[0] += bytes_of
            packets += 1
        else:
            outside[0] += 1
        at += bytes_of
    taken[0] = at
    return packets


cdef void tap_release(Tap* t, uint64_t taken) noexcept nogil:
    if load_relaxed_64(&t.head) != taken:
        store_release_64(&t.head, taken)


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
    cdef uint64_t waits = load_relaxed_64(&t.tail) - head
    cdef uint64_t at = 0
    while at < waits and at < PREFETCHED_BYTES:
        prefetch(ring_of(t) + ((head - t.base + at) & (t.size - 1)), 0)
        at += LINE_BYTES


cdef class TapPool:
    """Rings in a file on a tmpfs, mapped whole: a slot each. The event loop's thread, all of it."""

    def __cinit__(self, int descriptor, int sound, int video):
        cdef int64_t first = PAGE_BYTES
        cdef int64_t videos = first + <int64_t>sound * SOUND_SLOT_BYTES
        self.fd = -1
        self.size = videos + <int64_t>video * VIDEO_SLOT_BYTES
        if ftruncate(descriptor, self.size) != 0:
            raise OSError(errno, "cannot be made as large as its rings")
        self.memory = <uint8_t*>mmap(NULL, self.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0)
        if self.memory is <uint8_t*>MAP_FAILED:
            self.memory = NULL
            raise OSError(errno, "cannot be mapped")
        self.fd = descriptor
        self.sound = list(range(first, videos, SOUND_SLOT_BYTES))[::-1]
        self.video = list(range(videos, self.size, VIDEO_SLOT_BYTES))[::-1]

    def __dealloc__(self):
        if self.memory is not NULL:
            munmap(self.memory, self.size)
        if self.fd >= 0:
            close(self.fd)

    cdef Tap* take(self, bint video):
        """A slot that is all zeros but for its size; NULL: none is free, or no memory for its beginning."""
        cdef list slots = self.video if video else self.sound
        cdef Tap* t
        cdef int64_t offset
        if not slots:
            return NULL
        offset = slots.pop()
        if fallocate(self.fd, 0, offset, FIRST_BYTES) != 0:
            slots.append(offset)
            return NULL
        t = <Tap*>(self.memory + offset)
        memset(t, 0, TAP_HEAD_BYTES)
        t.size = TAP_VIDEO_RING_BYTES if video else TAP_RING_BYTES
        t.backed = FIRST_BYTES - TAP_HEAD_BYTES
        t.offset = offset
        t.pool_fd = self.fd
        return t

    cdef int give(self, Tap* t) except -1:
        """Its memory goes back with every word in it."""
        cdef int64_t offset = t.offset
        cdef bint video = t.size == TAP_VIDEO_RING_BYTES
        if fallocate(self.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                     VIDEO_SLOT_BYTES if video else SOUND_SLOT_BYTES) != 0:
            memset(t, 0, TAP_HEAD_BYTES + t.backed)
        (self.video if video else self.sound).append(offset)
        return 0

    @property
    def free(self) -> int:
        return len(self.sound) + len(self.video)


cdef class TapRing:
    """One tap's ring. `drain` belongs to one reading thread; the rest to the event loop's."""

    def __cinit__(self, uint64_t handle, bint video=False, TapPool pool=None):
        self.tap = NULL if pool is None else pool.take(video)
        if self.tap is not NULL:
            self.pool = pool
        else:
            self.tap = tap_new(TAP_VIDEO_RING_BYTES if video else TAP_RING_BYTES)
        if self.tap is NULL:
            raise MemoryError("no memory for a tap's ring")
        self.tap.handle = handle

    def __dealloc__(self):
        if self.pool is not None:
            self.pool.give(self.tap)
        else:
            tap_free(self.tap)

    @property
    def outlives(self) -> bool:
        return self.pool is not None

    @property
    def waiting(self) -> int:
        return load_relaxed_64(&self.tap.tail) - load_relaxed_64(&self.tap.head)

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
