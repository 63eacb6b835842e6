"""A tap whose packets go on to another recorder as they came, RTP header and all, within the window of permission.

Owns the way from one ring to one connected UDP socket. What a full socket refuses is lost and counted: nobody waits.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from mediaserver.ext.atomic cimport load_acquire_64, store_release_64
from mediaserver.ext.tap cimport TAP_HEADER_BYTES, TapRing, Window, tap_release, tap_take

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef enum:
    BUFFER_BYTES = 16_384              # some fifty packets of G.711; a round takes as many as there are

cdef int64_t OPEN = 0x7FFFFFFFFFFFFFFF


cdef class TapForward:
    """`shut` belongs to the event loop's thread, `step` to one other."""

    cdef TapRing ring
    cdef uint64_t taken
    cdef Window window
    cdef int fd
    cdef object socket                 # holds the descriptor open
    cdef readonly uint64_t sent
    cdef readonly uint64_t refused
    cdef readonly uint64_t outside

    def __cinit__(self, TapRing ring not None, socket, int64_t from_ns):
        self.ring = ring
        self.socket = socket
        self.fd = socket.fileno()
        self.window.from_ns = from_ns
        self.window.until_ns = OPEN

    def shut(self, int64_t until_ns) -> None:
        """Nothing that arrives from then on is sent. The first time given stays."""
        if <int64_t>load_acquire_64(<const uint64_t*>&self.window.until_ns) == OPEN:
            store_release_64(<uint64_t*>&self.window.until_ns, <uint64_t>until_ns)

    def step(self) -> int:
        """Sends what waits. Returns packets sent."""
        cdef uint8_t buffer[BUFFER_BYTES]
        cdef int64_t size = 1
        cdef int64_t at
        cdef int64_t bytes_of
        cdef int64_t oldest_ns = OPEN
        cdef int64_t sent = 0
        with nogil:
            while size > 0:
                size = 0
                tap_take(self.ring.tap, &self.taken, buffer, &size, BUFFER_BYTES, &self.window, &oldest_ns,
                         &self.outside)
                tap_release(self.ring.tap, self.taken)
                at = 0
                while at < size:
                    bytes_of = buffer[at + 6] | (buffer[at + 7] << 8)
                    at += TAP_HEADER_BYTES
                    if send(self.fd, buffer + at, bytes_of, MSG_DONTWAIT | MSG_NOSIGNAL) == bytes_of:
                        sent += 1
                    else:
                        self.refused += 1
                    at += bytes_of
        self.sent += sent
        return sent
