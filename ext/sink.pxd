# One journal being written: records wait in a buffer, are sealed there as one segment (AES-256-GCM, chained by SHA-256)
# and appended to the file. Layouts: tap.pxd for records, docs/recording-and-consent.md for segments. A sink belongs to
# the recording writer's thread; what another thread may touch says so.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from mediaserver.ext.tap cimport Tap, TapRing, Window

cdef enum:
    SEGMENT_HEADER_BYTES = 64
    SEGMENT_TAG_BYTES = 16
    DIGEST_BYTES = 32
    GCM_IV_BYTES = 12
    SINK_BUFFER_BYTES = 131_072        # only what is used is ever touched: 12 kB for a second of G.711
    SINK_ROOM_BYTES = SINK_BUFFER_BYTES - SEGMENT_HEADER_BYTES - SEGMENT_TAG_BYTES
    SINK_FULL_BYTES = 49_152           # sealed at once from here on: the longest note (65,563 bytes) always finds room
    NO_ARRIVAL = 0x7FFFFFFFFFFFFFFF

cdef extern from *:
    """
    #define OPENSSL_SUPPRESS_DEPRECATED  /* SHA256_*: EVP's would look the digest up anew for each segment */
    """

cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER_CTX:
        pass

cdef struct Sink:
    Tap* tap                           # NULL: nothing is captured now
    EVP_CIPHER_CTX* cipher             # keyed once
    uint8_t* buffer                    # segment header, records, tag
    int64_t size                       # bytes of whole records that wait
    int64_t spooled                    # how many of them are in the spool
    int64_t before                     # bytes of records in the segment before; 0: made elsewhere
    int64_t oldest_ns                  # first arrival that neither file has yet; NO_ARRIVAL without one
    int64_t file_bytes                 # whole segments in the file
    uint64_t taken                     # what of the tap's ring is in the buffer, the spool or the file
    uint64_t id                        # names it in the spool
    uint64_t number                    # of the next segment
    uint64_t outside                   # packets thrown away: not in the window
    Window window                      # its end may be set by any thread
    uint32_t dirty                     # written since the last sync; any thread clears it
    int32_t failure                    # errno of the write that failed, EPROTO: of the cipher; nothing is written then
    int fd
    uint32_t video                     # drained after all sound
    uint32_t taps                      # it ever had; the present one's number
    uint8_t previous[DIGEST_BYTES]     # SHA-256 of the segment before

# Keyed GCM context, or NULL.
cdef EVP_CIPHER_CTX* gcm_new(const uint8_t* key) noexcept nogil
cdef void gcm_free(EVP_CIPHER_CTX* cipher) noexcept nogil
# data[size] is encrypted in place, its tag put behind it; header is authenticated. 0, or -1.
cdef int gcm_encrypt(EVP_CIPHER_CTX* cipher, const uint8_t* iv, const uint8_t* header, int header_size, uint8_t* data,
                     int size) noexcept nogil
# All of data, or the errno.
cdef int write_all(int fd, const uint8_t* data, int64_t size) noexcept nogil
cdef int pwrite_all(int fd, const uint8_t* data, int64_t size, int64_t at) noexcept nogil
# Moves what the tap holds and the window covers into the buffer, until that is full (SINK_FULL_BYTES). Packets taken.
cdef int64_t sink_take(Sink* s) noexcept nogil
# The same until the tap is empty: seals whenever the buffer is full.
cdef int64_t sink_drain(Sink* s, int64_t now_ns) noexcept nogil
# What waits becomes one segment in the file. A failed write is cut off again and named in `failure`.
cdef void sink_seal(Sink* s, int64_t now_ns) noexcept nogil

# What was taken is in the spool or the file: its ring may forget it.
cdef void sink_release(Sink* s) noexcept nogil

cdef class LegSink:
    cdef Sink* sink
    cdef TapRing ring                  # keeps the tap's memory
    cdef bint leaving                  # all of it is taken; it goes with the next seal
    cdef int let_go(self) except -1
