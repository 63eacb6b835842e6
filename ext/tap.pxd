# A consented copy of what a leg receives: a byte ring with one writer (the worker) and one reader (the recording
# writer's thread), in records that go to disk as they are.
#
# A record is a header and the packet as it came, decrypted (RTP header and all). Little-endian, no padding:
#
#   offset  size
#        0     4  sync 0x50545352 ("RSTP" as bytes)
#        4     2  header size, 28; a reader skips what it does not know
#        6     2  packet size
#        8     1  kind: 1 = RTP received. 0x40 and above are the journal's own
#        9     1  flags: 1 audio, 2 comfort noise, 4 telephone-event, 8 records were lost right before this one,
#                 16 video, 32 it came by a retransmission (RFC 4588) and has its own header and numbers again
#       10     2  0
#       12     4  CRC-32 (IEEE 802.3, as zlib.crc32) over the header with this field zero, then the packet
#       16     8  arrival, ns, CLOCK_MONOTONIC
#       24     4  records lost on this tap so far because the ring was full
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.rtp cimport RtpReceiver

cdef enum:
    TAP_HEADER_BYTES = 28
    TAP_RING_BYTES = 262144            # 25 s of G.711 at 20 ms: a disk that stalls longer has lost
    TAP_HEAD_BYTES = 192               # of the ring: Tap
    TAP_VIDEO_RING_BYTES = 1048576     # 4 s of 2 Mbit/s; video is what is lost first
    TAP_FLAG_AUDIO = 1
    TAP_FLAG_COMFORT = 2
    TAP_FLAG_EVENT = 4
    TAP_FLAG_AFTER_LOSS = 8
    TAP_FLAG_VIDEO = 16
    TAP_FLAG_RESTORED = 32
    TAP_FLOOR_MS = 1000                # a packet later than that is played by nobody; a sender's clock may jump

# The head of a ring, which lies in memory that may outlive the process (TapPool): what the next start needs to know of
# it stands here, and no pointer. Each side writes to one line of 64 bytes of its own: a line that both write goes to
# and fro between their cores with each packet. recording/rings.py reads the same layout.
cdef struct Tap:
    uint64_t head                      # bytes that are kept elsewhere; the reader's, as the rest of this line
    int64_t from_ns                    # the window of permission, as the sink has it: recovery asks it, too
    int64_t until_ns
    uint64_t journal                   # its id in the spool; 0: nobody's, nothing of it is recovered
    uint64_t sealing_number            # the segment made last, or just now, and
    uint64_t sealing_position          # what of the ring is in it: so much is in the journal if that segment is
    uint32_t number                    # of this tap among those of its journal
    uint32_t changes                   # lost grew, and the control side was rung about it
    uint64_t pad
    uint64_t tail                      # bytes ever written; the worker's, as all below
    uint64_t base                      # which of them stands at the ring's start; moves only while it is empty
    uint64_t size                      # of the ring, a power of two
    uint64_t backed                    # bytes of it that have memory; more is asked for when they are needed
    uint64_t handle
    uint64_t packets                   # copied
    uint32_t lost                      # not copied: ring full
    uint32_t behind                    # the next record follows a loss
    # What was said before it was opened and is still under way is not copied: packets of this source with an older
    # timestamp. 0: no source was heard, or it is open long enough.
    int64_t floor_until_ns
    int64_t offset                     # in the pool's file
    int64_t pool_fd                    # -1: private memory
    uint32_t floor_timestamp
    uint32_t floor_ssrc
    int32_t floor_clock_hz
    uint32_t spare
    uint64_t more[4]                   # nothing yet; the ring follows

# Whose packets are kept: those that arrived from from_ns on and before until_ns, which any thread may set (atomic).
cdef struct Window:
    int64_t from_ns
    int64_t until_ns

# Allocates: control path only. NULL without memory.
cdef Tap* tap_new(uint64_t size) noexcept nogil
cdef void tap_free(Tap* t) noexcept nogil
# Copies one record. 0, or -1: no room, counted.
cdef int tap_write(Tap* t, const Packet* packet, int flags) noexcept nogil
# The same of a packet in two parts, together at most 65,535 bytes.
cdef int tap_put(Tap* t, int64_t arrival_ns, int flags, const uint8_t* head, int head_size, const uint8_t* body,
                 int body_size) noexcept nogil
# Moves whole records into out[capacity], their CRCs filled in; returns bytes. Any one thread at a time.
cdef int64_t tap_read(Tap* t, uint8_t* out, int64_t capacity) noexcept nogil
# The same from `taken` on, which grows as out[size] does; what arrived outside the window is thrown away and counted.
# oldest_ns becomes the first arrival if that is older. The ring keeps all of it until `tap_release`. Returns packets.
cdef int64_t tap_take(Tap* t, uint64_t* taken, uint8_t* out, int64_t* size, int64_t capacity, const Window* window,
                      int64_t* oldest_ns, uint64_t* outside) noexcept nogil
# To be opened now on what this receiver hears: from now on what leaves its source from now on. one_way_ns: the
# packets' way here, as far as known.
cdef void tap_begin(Tap* t, const RtpReceiver* r, int64_t now_ns, int64_t one_way_ns) noexcept nogil
# 1: it was sent before the tap was opened.
cdef bint tap_too_old(Tap* t, const Packet* packet, int clock_hz) noexcept nogil
# Asks for the memory of the next record, if there may be one: taking it a little later is cheaper then.
cdef void tap_prefetch(const Tap* t) noexcept nogil
# What was taken is kept elsewhere now.
cdef void tap_release(Tap* t, uint64_t taken) noexcept nogil
cdef void put_le(uint8_t* p, uint64_t value, int bytes_wide) noexcept nogil

cdef class TapPool:
    cdef int fd
    cdef uint8_t* memory
    cdef int64_t size
    cdef list sound                    # free slots' offsets
    cdef list video
    cdef Tap* take(self, bint video)
    cdef int give(self, Tap* t) except -1

cdef class TapRing:
    cdef Tap* tap
    cdef TapPool pool                  # whose memory it is; None: its own
