"""One journal being written, natively: drained, sealed, chained, appended, all without the GIL.

Owns the buffer between a tap's ring and a file, and the segment's layout on its way out (recording/segment.py reads
it). Knows no policy: the window it is given decides what is kept, and a write that failed is for others to tell.
"""

from libc.errno cimport EINTR, EPROTO, errno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport exchange_32, load_acquire_64, store_relaxed_32, store_release_64
from mediaserver.ext.crc cimport crc32
from mediaserver.ext.tap cimport TapRing, put_le, tap_release, tap_take

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER:
        pass
    EVP_CIPHER_CTX* EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX* c)
    const EVP_CIPHER* EVP_aes_256_gcm()
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX* c, const EVP_CIPHER* kind, void* engine, const uint8_t* key,
                           const uint8_t* iv)
    int EVP_EncryptUpdate(EVP_CIPHER_CTX* c, uint8_t* out, int* out_size, const uint8_t* data, int size)
    int EVP_EncryptFinal_ex(EVP_CIPHER_CTX* c, uint8_t* out, int* out_size)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX* c, int what, int number, void* data)
    int EVP_CTRL_AEAD_GET_TAG

cdef extern from "<openssl/sha.h>" nogil:
    ctypedef struct SHA256_CTX:
        pass
    int SHA256_Init(SHA256_CTX* c)
    int SHA256_Update(SHA256_CTX* c, const void* data, size_t size)
    int SHA256_Final(uint8_t* digest, SHA256_CTX* c)

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int fd, const void* data, size_t size)
    ssize_t pwrite(int fd, const void* data, size_t size, int64_t at)
    int ftruncate(int fd, int64_t size)

cdef enum:
    SEGMENT_VERSION = 2
    KIND_SEALED = 1
    CRC_OFFSET = 12
    KEY_BYTES = 32


cdef EVP_CIPHER_CTX* gcm_new(const uint8_t* key) noexcept nogil:
    cdef EVP_CIPHER_CTX* cipher = EVP_CIPHER_CTX_new()
    if cipher is not NULL and EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL) == 1:
        return cipher
    EVP_CIPHER_CTX_free(cipher)
    return NULL


cdef void gcm_free(EVP_CIPHER_CTX* cipher) noexcept nogil:
    EVP_CIPHER_CTX_free(cipher)


cdef int gcm_encrypt(EVP_CIPHER_CTX* cipher, const uint8_t* iv, const uint8_t* header, int header_size, uint8_t* data,
                     int size) noexcept nogil:
    cdef int done
    if EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv) != 1:
        return -1
    if EVP_EncryptUpdate(cipher, NULL, &done, header, header_size) != 1:
        return -1
    if EVP_EncryptUpdate(cipher, data, &done, data, size) != 1:
        return -1
    if EVP_EncryptFinal_ex(cipher, data + size, &done) != 1:
        return -1
    return 0 if EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, SEGMENT_TAG_BYTES, data + size) == 1 else -1


cdef int write_all(int fd, const uint8_t* data, int64_t size) noexcept nogil:
    cdef ssize_t written
    while size > 0:
        written = write(fd, data, size)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        data += written
        size -= written
    return 0


cdef int pwrite_all(int fd, const uint8_t* data, int64_t size, int64_t at) noexcept nogil:
    cdef ssize_t written
    while size > 0:
        written = pwrite(fd, data, size, at)
        if written < 0:
            if errno == EINTR:
                continue
            return errno
        data += written
        size -= written
        at += written
    return 0


cdef void head_of(Sink* s, int64_t now_ns) noexcept nogil:
    cdef uint8_t* h = s.buffer
    memcpy(h, b"MSEG", 4)
    h[4] = SEGMENT_VERSION
    h[5] = KIND_SEALED
    memset(h + 6, 0, 2)
    put_le(h + 8, <uint64_t>(s.size + SEGMENT_TAG_BYTES), 4)
    memset(h + CRC_OFFSET, 0, 4)
    put_le(h + 16, s.number, 8)
    put_le(h + 24, <uint64_t>now_ns, 8)
    memcpy(h + 32, s.previous, DIGEST_BYTES)
    put_le(h + CRC_OFFSET, crc32(h, SEGMENT_HEADER_BYTES), 4)


cdef void sink_seal(Sink* s, int64_t now_ns) noexcept nogil:
    cdef uint8_t iv[GCM_IV_BYTES]
    cdef int64_t whole = SEGMENT_HEADER_BYTES + s.size + SEGMENT_TAG_BYTES
    cdef SHA256_CTX digest
    cdef int failure
    cdef int i
    if s.size == 0:
        return
    if s.tap is not NULL:
        # Said before it is written: whether that segment is in the file, the next start sees after a kill in between.
        store_release_64(&s.tap.sealing_number, s.number)
        store_release_64(&s.tap.sealing_position, s.taken)
    if s.failure == 0:
        head_of(s, now_ns)
        memset(iv, 0, sizeof(iv))
        for i in range(8):                 # the number, big-endian
            iv[GCM_IV_BYTES - 1 - i] = <uint8_t>(s.number >> (8 * i))
        if gcm_encrypt(s.cipher, iv, s.buffer, SEGMENT_HEADER_BYTES, s.buffer + SEGMENT_HEADER_BYTES, <int>s.size) < 0:
            failure = EPROTO
        else:
            failure = write_all(s.fd, s.buffer, whole)
            if failure:
                ftruncate(s.fd, s.file_bytes)  # half a segment proves nothing
        if failure:
            s.failure = failure            # never back to 0: the sync thread may have told one meanwhile
        else:
            SHA256_Init(&digest)
            SHA256_Update(&digest, s.buffer, whole)
            SHA256_Final(s.previous, &digest)
            s.number += 1
            s.before = s.size
            s.file_bytes += whole
            store_relaxed_32(&s.dirty, 1)
    s.size = s.spooled = 0
    sink_release(s)


cdef void sink_release(Sink* s) noexcept nogil:
    if s.tap is NULL:
        return
    if s.failure:                          # what it took is nowhere: what comes would follow a hole
        store_release_64(&s.tap.journal, 0)
    tap_release(s.tap, s.taken)


cdef int64_t sink_take(Sink* s) noexcept nogil:
    cdef int64_t packets
    if s.tap is NULL:
        return 0
    packets = tap_take(s.tap, &s.taken, s.buffer + SEGMENT_HEADER_BYTES, &s.size, SINK_ROOM_BYTES, &s.window,
                       &s.oldest_ns, &s.outside)
    if s.failure:
        s.size = s.spooled = 0
        s.oldest_ns = NO_ARRIVAL
    return packets


cdef int64_t sink_drain(Sink* s, int64_t now_ns) noexcept nogil:
    cdef int64_t packets = sink_take(s)
    while s.size >= SINK_FULL_BYTES:
        sink_seal(s, now_ns)
        packets += sink_take(s)
    return packets


cdef class LegSink:
    """One journal's file, key and chain. The writer's thread calls everything but `close_window`."""

    def __cinit__(self, int descriptor, bytes key, uint64_t number, bytes previous, int64_t file_bytes,
                  uint64_t spool_id=0, bint video=False):
        if len(key) != KEY_BYTES or len(previous) != DIGEST_BYTES:
            raise ValueError(f"a key is {KEY_BYTES} bytes and a digest {DIGEST_BYTES}, not {len(key)}, {len(previous)}")
        self.sink = <Sink*>calloc(1, sizeof(Sink))
        if self.sink is NULL:
            raise MemoryError("no memory for a journal's buffer")
        self.sink.buffer = <uint8_t*>malloc(SINK_BUFFER_BYTES)
        self.sink.cipher = gcm_new(<const uint8_t*>PyBytes_AS_STRING(key))
        if self.sink.buffer is NULL or self.sink.cipher is NULL:
            raise MemoryError("no memory for a journal's buffer")
        self.sink.fd = descriptor
        self.sink.number = number
        self.sink.id = spool_id
        self.sink.video = video
        self.sink.file_bytes = file_bytes
        store_relaxed_32(&self.sink.dirty, 1)
        self.sink.oldest_ns = self.sink.window.until_ns = NO_ARRIVAL
        memcpy(self.sink.previous, PyBytes_AS_STRING(previous), DIGEST_BYTES)

    def __dealloc__(self):
        if self.sink is not NULL:
            gcm_free(self.sink.cipher)
            free(self.sink.buffer)
            free(self.sink)

    def open(self, TapRing ring not None, int64_t from_ns) -> None:
        self.let_go()
        self.ring = ring
        self.sink.window.from_ns = from_ns
        self.sink.taken = load_acquire_64(&ring.tap.head)
        self.sink.taps += 1
        ring.tap.number = self.sink.taps
        ring.tap.from_ns = from_ns
        ring.tap.sealing_number = ring.tap.sealing_position = 0
        store_release_64(<uint64_t*>&ring.tap.until_ns, <uint64_t>self.sink.window.until_ns)
        store_release_64(&ring.tap.journal, 0 if self.sink.failure else self.sink.id)
        self.sink.tap = ring.tap

    def open_window(self, int64_t from_ns) -> None:
        self.sink.window.from_ns = from_ns
        store_release_64(<uint64_t*>&self.sink.window.until_ns, NO_ARRIVAL)

    def close_window(self, int64_t until_ns) -> None:
        if self.sink.tap is not NULL:      # were this process killed here, recovery asks the ring's window
            store_release_64(<uint64_t*>&self.sink.tap.until_ns, <uint64_t>until_ns)
        store_release_64(<uint64_t*>&self.sink.window.until_ns, <uint64_t>until_ns)

    @property
    def window_until_ns(self) -> int:
        return <int64_t>load_acquire_64(<uint64_t*>&self.sink.window.until_ns)

    @property
    def window_closed(self) -> bool:
        return load_acquire_64(<uint64_t*>&self.sink.window.until_ns) != NO_ARRIVAL

    def close(self, int64_t now_ns) -> None:
        with nogil:
            sink_drain(self.sink, now_ns)
        self.leaving = True

    cdef int let_go(self) except -1:
        """The ring whose last records are in the file."""
        self.leaving = False
        self.sink.tap = NULL
        self.ring = None
        return 0

    def put(self, bytes records, int64_t now_ns) -> None:
        cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(records)
        cdef int64_t size = len(records)
        if size > SINK_ROOM_BYTES - SINK_FULL_BYTES:
            raise ValueError(f"a note is at most {SINK_ROOM_BYTES - SINK_FULL_BYTES} bytes, got {size}")
        with nogil:
            memcpy(self.sink.buffer + SEGMENT_HEADER_BYTES + self.sink.size, data, size)
            self.sink.size += size
            sink_seal(self.sink, now_ns)
        if self.leaving:
            self.let_go()
        self.sink.oldest_ns = NO_ARRIVAL

    def take_dirty(self) -> bool:
        return exchange_32(&self.sink.dirty, 0) != 0

    @property
    def number(self) -> int:
        return self.sink.number

    @property
    def head(self) -> bytes:
        return (<const char*>self.sink.previous)[:DIGEST_BYTES]

    @property
    def file_bytes(self) -> int:
        return self.sink.file_bytes

    @property
    def failure(self) -> int:
        return self.sink.failure

    def fail(self, int code) -> None:
        if self.sink.failure == 0:
            self.sink.failure = code

    @property
    def outside(self) -> int:
        return self.sink.outside

    @property
    def video(self) -> bool:
        return self.sink.video != 0

    @property
    def waiting(self) -> int:
        return self.sink.size
