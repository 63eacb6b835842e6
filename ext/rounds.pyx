"""The recording writer's round: all taps drained, sealed and written in one call without the GIL.

Owns the order of a round, the spool and the figures of both. With a spool, what every leg said since the last round
is one encrypted batch in one file, one write for all; journals get their segments later, a few legs in each round, so
that a circle of rounds seals each once. Without one each round seals every leg. Pictures come after all sound, in a
batch of their own, and take no more than their share of a round: what is not drained then waits in its ring, and is
what a disk that is too slow costs first. Layout of a batch, little-endian:

  offset  size
       0     4  sync, the bytes MSPB
       4     1  version, 3
       5     3  0
       8     4  body size
      12     4  CRC-32 (as zlib) over the header with this field zero
      16     8  number, from the spool file's generation << 32 up; the nonce (12 bytes, big-endian) of AES-256-GCM over
                the body, with the header as additional data
      24     8  when it was written, monotonic ns
      32        body: entries, then the tag of 16 bytes. An entry: journal's id (8), number of the segment its records
                will be in (8), their offset in that (4), their size (4), the size of all records of the segment before
                (4; 0: not told), which of the journal's taps they are of (4), what of its ring is kept with them (8),
                the records. The size before is how a reader sees that nothing is missing in between; where the ring's
                rest begins, the position
"""

from libc.errno cimport EPROTO
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport load_relaxed_64, store_release_64
from mediaserver.ext.crc cimport crc32
from mediaserver.ext.net cimport monotonic_ns
from mediaserver.ext.sink cimport (
    EVP_CIPHER_CTX,
    GCM_IV_BYTES,
    NO_ARRIVAL,
    SEGMENT_HEADER_BYTES,
    SEGMENT_TAG_BYTES,
    SINK_FULL_BYTES,
    LegSink,
    Sink,
    gcm_encrypt,
    gcm_free,
    gcm_new,
    pwrite_all,
    sink_release,
    sink_seal,
    sink_take,
)
from mediaserver.ext.tap cimport put_le, tap_prefetch

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* p, int for_writing) noexcept nogil

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout_ms)
    short POLLIN

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int start, int flags)
    int EFD_NONBLOCK
    int EFD_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void* data, size_t size)
    ssize_t write(int fd, const void* data, size_t size)
    int close(int fd)

cdef enum:
    BATCH_HEADER_BYTES = 32
    BATCH_ENTRY_BYTES = 40
    BATCH_BYTES = 4_194_304
    BATCH_VERSION = 3
    LAG_BUCKETS = 1_024                # of a millisecond; the last takes all that is later
    SINKS_FIRST = 64
    VIDEO_NS_MAX = 300_000_000         # of a round: sound waits no longer for pictures than its lag may be


cdef class Rounds:
    """Every open journal of a process. All but `wake` and the figures belong to the writer's thread."""

    cdef list files
    cdef Sink** sinks
    cdef int64_t* oldest                   # of each sink in this round, and
    cdef int* slots                        # when it is sealed: apart, so that looking at all touches no sink
    cdef int count
    cdef int room
    cdef int wake_fd
    cdef int turn
    cdef int turns
    cdef int next_slot
    cdef int64_t due_ns
    cdef uint64_t busy_since
    cdef EVP_CIPHER_CTX* spool_cipher
    cdef int spool_fd
    cdef int64_t spool_at                  # where in it the next batch goes
    cdef uint64_t batch_number
    cdef uint8_t* batch
    cdef int64_t batch_size                # entries behind the header
    cdef uint64_t lags[LAG_BUCKETS]
    cdef readonly int spool_failure
    cdef readonly int64_t spool_bytes
    cdef readonly int64_t packets
    cdef readonly int64_t lag_ns
    cdef readonly int64_t lag_ns_max
    cdef bint circle_done
    cdef int videos                        # how many of the sinks are
    cdef int video_next                    # whose turn it is first
    cdef int64_t video_ns_max

    def __cinit__(self, int turns=1, int64_t video_ns_max=VIDEO_NS_MAX):
        self.files = []
        self.wake_fd = self.spool_fd = -1
        self.turns = max(1, turns)
        self.video_ns_max = video_ns_max
        self.room = SINKS_FIRST
        self.sinks = <Sink**>calloc(self.room, sizeof(Sink*))
        self.oldest = <int64_t*>calloc(self.room, sizeof(int64_t))
        self.slots = <int*>calloc(self.room, sizeof(int))
        self.batch = <uint8_t*>malloc(BATCH_HEADER_BYTES + BATCH_BYTES + SEGMENT_TAG_BYTES)
        if self.sinks is NULL or self.oldest is NULL or self.slots is NULL or self.batch is NULL:
            raise MemoryError("no memory for the recording writer")
        self.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.wake_fd < 0:
            raise OSError("no descriptor is left for the recording writer")

    def __dealloc__(self):
        gcm_free(self.spool_cipher)
        free(self.sinks)
        free(self.oldest)
        free(self.slots)
        free(self.batch)
        if self.wake_fd >= 0:
            close(self.wake_fd)

    def add(self, LegSink sink not None) -> None:
        """Raises MemoryError."""
        if self.count == self.room:
            self.grow()
        self.slots[self.count] = self.next_slot
        self.next_slot = (self.next_slot + 1) % self.turns
        self.sinks[self.count] = sink.sink
        self.videos += sink.sink.video != 0
        self.count += 1
        self.files.append(sink)

    cdef int grow(self) except -1:
        cdef Sink** sinks = <Sink**>realloc(self.sinks, 2 * self.room * sizeof(Sink*))
        cdef int64_t* oldest
        cdef int* slots
        if sinks is not NULL:
            self.sinks = sinks
        oldest = <int64_t*>realloc(self.oldest, 2 * self.room * sizeof(int64_t))
        if oldest is not NULL:
            self.oldest = oldest
        slots = <int*>realloc(self.slots, 2 * self.room * sizeof(int))
        if slots is not NULL:
            self.slots = slots
        if sinks is NULL or oldest is NULL or slots is NULL:
            raise MemoryError("no memory for another journal")
        self.room *= 2
        return 0

    def remove(self, LegSink sink not None) -> None:
        cdef int i
        for i in range(self.count):
            if self.sinks[i] == sink.sink:
                self.count -= 1
                self.sinks[i] = self.sinks[self.count]
                self.slots[i] = self.slots[self.count]
                self.files[i] = self.files[self.count]
                self.files.pop()
                self.videos -= sink.sink.video != 0
                return

    def use_spool(self, int descriptor, bytes key, int64_t at=0, uint64_t number=0) -> None:
        """Batches go there from now on. -1 and b"": nowhere; each round seals every leg. Raises ValueError."""
        gcm_free(self.spool_cipher)
        self.spool_cipher = NULL
        self.spool_fd = -1
        if descriptor >= 0:
            if len(key) != 32:
                raise ValueError(f"a spool's key is 32 bytes, not {len(key)}")
            self.spool_cipher = gcm_new(<const uint8_t*>PyBytes_AS_STRING(key))
            if self.spool_cipher is NULL:
                raise MemoryError("no memory for the spool's cipher")
            self.spool_fd = descriptor
        self.spool_at = at
        self.batch_number = number
        self.batch_size = 0                # of one that could not be written: it is in journals
        self.spool_failure = 0

    def round(self, int64_t now_ns) -> int:
        """One round at this time. How many journals have failed so far; the spool's failure is `spool_failure`."""
        cdef int failed
        with nogil:
            failed = self.step(now_ns)
            self.note_lags(now_ns)
        return failed

    def seal(self, int64_t now_ns) -> None:
        """What waits in any journal's buffer goes to its file now."""
        cdef int i
        with nogil:
            for i in range(self.count):
                sink_seal(self.sinks[i], now_ns)

    def run(self, int64_t flush_ns, int64_t until_ns) -> int:
        """Rounds every flush_ns until woken, until the time, the end of a circle, or a new failure. Journals failed.

        Without a journal it sleeps: who attaches one wakes it.
        """
        cdef int failed = 0
        cdef int before = self.failures()
        cdef int64_t now_ns
        cdef uint64_t told
        with nogil:
            while True:
                now_ns = monotonic_ns()
                if self.count and now_ns >= self.due_ns:
                    store_release_64(&self.busy_since, <uint64_t>now_ns)
                    failed = self.step(now_ns)
                    now_ns = monotonic_ns()
                    self.note_lags(now_ns)
                    store_release_64(&self.busy_since, 0)
                    # After a stall the next round is one interval away: no burst of empty rounds.
                    self.due_ns += flush_ns
                    if self.due_ns <= now_ns:
                        self.due_ns = now_ns + flush_ns
                    if failed != before or self.circle_done or self.spool_failure:
                        break
                if now_ns >= until_ns or self.wait((min(self.due_ns, until_ns) if self.count else until_ns) - now_ns):
                    break
        read(self.wake_fd, &told, sizeof(told))
        return self.failures()

    cdef bint wait(self, int64_t ns) noexcept nogil:
        """True: woken."""
        cdef pollfd watched
        watched.fd = self.wake_fd
        watched.events = POLLIN
        watched.revents = 0
        return poll(&watched, 1, <int>((max(0, ns) + 999_999) // 1_000_000)) > 0

    def wake(self) -> None:
        """Any thread."""
        cdef uint64_t one = 1
        write(self.wake_fd, &one, sizeof(one))

    cdef int failures(self) noexcept nogil:
        cdef int i
        cdef int failed = 0
        for i in range(self.count):
            failed += self.sinks[i].failure != 0
        return failed

    cdef int step(self, int64_t now_ns) noexcept nogil:
        cdef int i
        cdef int failed = 0
        cdef Sink* s
        for i in range(self.count):
            self.fetch_ahead(i)
            s = self.sinks[i]
            if s.video:
                self.oldest[i] = NO_ARRIVAL
                continue
            self.drain(s, now_ns)
            self.oldest[i] = s.oldest_ns
            s.oldest_ns = NO_ARRIVAL
            failed += s.failure != 0
        self.write_batch(now_ns)
        if self.videos:
            failed += self.step_video(now_ns)
            self.write_batch(now_ns)
        for i in range(self.count):
            if i + 24 < self.count:        # a thousand calls' lines have left the cache since they were drained
                prefetch(self.sinks[i + 24], 0)
                prefetch(<char*>self.sinks[i + 24] + 64, 0)
                if self.sinks[i + 12].tap is not NULL:
                    prefetch(self.sinks[i + 12].tap, 1)
            if self.spool_fd < 0 or self.slots[i] == self.turn:
                s = self.sinks[i]
                failed -= s.failure != 0
                sink_seal(s, now_ns)
                failed += s.failure != 0
            sink_release(self.sinks[i])    # what it took is in the spool or in its file
        self.turn = (self.turn + 1) % self.turns
        self.circle_done |= self.turn == 0 and self.turns > 1
        return failed

    cdef int step_video(self, int64_t now_ns) noexcept nogil:
        """The sinks of pictures, in turns: who had to wait comes first the next time. How many have failed."""
        cdef int64_t until_ns = monotonic_ns() + self.video_ns_max
        cdef int first = self.video_next if self.video_next < self.count else 0
        cdef int failed = 0
        cdef int waits = -1
        cdef int turn
        cdef int i
        cdef Sink* s
        for turn in range(self.count):
            i = (first + turn) % self.count
            s = self.sinks[i]
            if not s.video:
                continue
            if monotonic_ns() < until_ns:
                self.drain(s, now_ns)
                self.oldest[i] = s.oldest_ns
                s.oldest_ns = NO_ARRIVAL
            elif waits < 0:
                waits = i
            failed += s.failure != 0
        self.video_next = max(0, waits)
        return failed

    cdef inline void drain(self, Sink* s, int64_t now_ns) noexcept nogil:
        """All that its tap holds. It is in the spool before it is a segment: no journal is synced for that."""
        self.packets += sink_take(s)
        if self.spool_fd >= 0 and s.size > s.spooled:
            self.spool(s, now_ns)
        while s.size >= SINK_FULL_BYTES:
            sink_seal(s, now_ns)
            self.packets += sink_take(s)
            if self.spool_fd >= 0 and s.size > s.spooled:
                self.spool(s, now_ns)

    cdef inline void fetch_ahead(self, int i) noexcept nogil:
        """The memory of legs to come: 2,000 rings and buffers are in no cache, and each is found through another."""
        cdef Sink* s
        if i + 48 < self.count:
            prefetch(self.sinks[i + 48], 1)
            prefetch(<char*>self.sinks[i + 48] + 64, 1)
        if i + 32 < self.count and self.sinks[i + 32].tap is not NULL:
            prefetch(self.sinks[i + 32].tap, 0)
            prefetch(<char*>self.sinks[i + 32].tap + 64, 0)
        if i + 12 < self.count and self.sinks[i + 12].tap is not NULL:
            s = self.sinks[i + 12]
            tap_prefetch(s.tap)
            prefetch(s.buffer + SEGMENT_HEADER_BYTES + s.size, 1)
            prefetch(s.buffer + SEGMENT_HEADER_BYTES + s.size + 64, 1)
            prefetch(s.buffer + SEGMENT_HEADER_BYTES + s.size + 128, 1)
            prefetch(s.buffer + SEGMENT_HEADER_BYTES + s.size + 192, 1)

    cdef void spool(self, Sink* s, int64_t now_ns) noexcept nogil:
        """What this journal's buffer got since the last round becomes an entry of the batch."""
        cdef int64_t size = s.size - s.spooled
        cdef uint8_t* entry
        if self.batch_size + BATCH_ENTRY_BYTES + size > BATCH_BYTES:
            self.write_batch(now_ns)
            if self.spool_fd < 0:
                return
        entry = self.batch + BATCH_HEADER_BYTES + self.batch_size
        put_le(entry, s.id, 8)
        put_le(entry + 8, s.number, 8)
        put_le(entry + 16, <uint64_t>s.spooled, 4)
        put_le(entry + 20, <uint64_t>size, 4)
        put_le(entry + 24, <uint64_t>s.before, 4)
        put_le(entry + 28, s.taps, 4)
        put_le(entry + 32, s.taken, 8)
        memcpy(entry + BATCH_ENTRY_BYTES, s.buffer + SEGMENT_HEADER_BYTES + s.spooled, size)
        self.batch_size += BATCH_ENTRY_BYTES + size
        s.spooled = s.size

    cdef void write_batch(self, int64_t now_ns) noexcept nogil:
        """One write. If it fails there is no spool any more, and this very round seals every leg."""
        cdef uint8_t iv[GCM_IV_BYTES]
        cdef uint8_t* h = self.batch
        cdef int64_t size = BATCH_HEADER_BYTES + self.batch_size + SEGMENT_TAG_BYTES
        cdef int i
        if self.batch_size == 0 or self.spool_fd < 0:
            return
        memset(h, 0, BATCH_HEADER_BYTES)
        memcpy(h, b"MSPB", 4)
        h[4] = BATCH_VERSION
        put_le(h + 8, <uint64_t>(self.batch_size + SEGMENT_TAG_BYTES), 4)
        put_le(h + 16, self.batch_number, 8)
        put_le(h + 24, <uint64_t>now_ns, 8)
        put_le(h + 12, crc32(h, BATCH_HEADER_BYTES), 4)
        memset(iv, 0, sizeof(iv))
        for i in range(8):                 # the number, big-endian
            iv[GCM_IV_BYTES - 1 - i] = <uint8_t>(self.batch_number >> (8 * i))
        if gcm_encrypt(self.spool_cipher, iv, h, BATCH_HEADER_BYTES, h + BATCH_HEADER_BYTES, <int>self.batch_size) < 0:
            self.spool_failure = EPROTO
        else:
            self.spool_failure = pwrite_all(self.spool_fd, h, size, self.spool_at)
        if self.spool_failure:
            self.spool_fd = -1
        else:
            self.batch_number += 1
            self.spool_at += size
            self.spool_bytes += size
        self.batch_size = 0

    cdef void note_lags(self, int64_t now_ns) noexcept nogil:
        """Age of each leg's oldest packet now that it is written; told of the whole round, so never too small."""
        cdef int64_t lag_ns
        cdef int i
        self.lag_ns = 0
        for i in range(self.count):
            if self.oldest[i] == NO_ARRIVAL:
                continue
            lag_ns = max(0, now_ns - self.oldest[i])
            self.lags[min(lag_ns // 1_000_000, LAG_BUCKETS - 1)] += 1
            self.lag_ns = max(self.lag_ns, lag_ns)
        self.lag_ns_max = max(self.lag_ns_max, self.lag_ns)

    def take_circle(self) -> bool:
        """Whether a circle has ended since this was last asked: once for each."""
        cdef bint done = self.circle_done
        self.circle_done = False
        return done

    @property
    def journals(self) -> int:
        return self.count

    @property
    def bytes_written(self) -> int:
        """To journals that are open now, since they were made."""
        cdef int64_t total = 0
        cdef int i
        for i in range(self.count):
            total += self.sinks[i].file_bytes
        return total

    @property
    def packets_outside(self) -> int:
        cdef int64_t total = 0
        cdef int i
        for i in range(self.count):
            total += self.sinks[i].outside
        return total

    @property
    def busy_since_ns(self) -> int:
        return load_relaxed_64(&self.busy_since)

    def lag_histogram(self) -> list[int]:
        return [self.lags[i] for i in range(LAG_BUCKETS)]
