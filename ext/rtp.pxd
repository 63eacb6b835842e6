# RTP on the wire (RFC 3550 §5.1), what one receiver knows of one source (appendix A.1, A.3, A.8), and the one outgoing
# stream a leg has whatever feeds it: own SSRC, continuous sequence and timestamps across every change of feed.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.packet cimport Packet

cdef enum:
    RTP_HEADER_BYTES = 12
    RTP_SEQUENCE_JUMP_MAX = 3000      # RFC 3550 A.1 MAX_DROPOUT
    RTP_SEQUENCE_BACK_MAX = 100       # RFC 3550 A.1 MAX_MISORDER

cdef enum DatagramKind:               # RFC 7983 §7 by the first byte
    DATAGRAM_STUN = 0
    DATAGRAM_DTLS = 1
    DATAGRAM_RTP = 2                  # or SRTP
    DATAGRAM_RTCP = 3                 # or SRTCP; by the payload type octet, RFC 5761 §4
    DATAGRAM_OTHER = 4

cdef DatagramKind datagram_kind(const uint8_t* data, int size) noexcept nogil

# Reads the header into the packet's fields: version, CSRCs, extension and padding checked against packet.size.
# 0, or -1: not RTP. Nothing in packet.data is changed.
cdef int rtp_parse(Packet* packet) noexcept nogil
# Writes a plain 12-byte header (no CSRC, no extension).
cdef void rtp_write_header(uint8_t* data, int payload_type, int marker, uint16_t sequence, uint32_t timestamp,
                           uint32_t ssrc) noexcept nogil

cdef enum ReceiverVerdict:
    SOURCE_ACCEPTED = 0
    SOURCE_NEW = 1                    # first packet, other SSRC, or the same one restarted: sequence state is fresh
    SOURCE_STALE = 2                  # a straggler of the SSRC before, or a lone impossible sequence number: drop it

cdef struct RtpReceiver:              # zeroed is ready
    int32_t started
    uint32_t ssrc
    uint32_t previous_ssrc            # of the source before, whose stragglers are dropped for a moment
    int64_t changed_ns                # when ssrc became what it is
    uint16_t sequence_max
    uint32_t sequence_cycles          # wraps << 16
    uint32_t sequence_base
    uint32_t sequence_bad             # 0x10001: none; else the one that would prove a restart
    uint64_t received                 # of this SSRC
    uint64_t expected_before          # sums over the SSRCs before
    uint32_t expected_prior           # at the last report block
    uint32_t received_prior
    int32_t transit                   # RTP units; of the last timed packet
    int32_t transit_known
    uint32_t jitter_q4                # RTP units << 4, as in A.8
    int32_t clock_hz                  # of the last timed packet
    uint32_t ssrc_changes

cdef ReceiverVerdict rtp_receiver_step(RtpReceiver* r, const Packet* packet) noexcept nogil
# Jitter of A.8; only for packets whose timestamp is their sampling time (not telephone-event).
cdef void rtp_receiver_time(RtpReceiver* r, uint32_t timestamp, int64_t arrival_ns, int clock_hz) noexcept nogil
cdef uint64_t rtp_receiver_expected(const RtpReceiver* r) noexcept nogil
cdef uint32_t rtp_receiver_highest(const RtpReceiver* r) noexcept nogil      # extended highest sequence number

cdef struct RtpSender:                # what has gone out, and the offsets of the stream now relayed into it
    uint32_t ssrc
    uint16_t sequence                 # of the next packet when we make it ourselves; highest sent + 1
    uint16_t cycles                   # times it wrapped: with it the extended number of RFC 3550 §6.4.1
    uint32_t timestamp                # of the last packet sent
    int64_t sent_ns                   # when that was; 0: nothing yet
    int32_t clock_hz                  # of that timestamp
    uint64_t packets
    uint64_t bytes                    # payload octets, as SR counts them
    uint64_t bytes_wire
    int32_t feeding                   # relay offsets below are valid
    uint32_t feed_ssrc
    uint16_t feed_first               # older sequence numbers of this feed would collide: dropped
    uint16_t feed_highest
    uint32_t feed_count
    uint16_t sequence_delta
    uint32_t timestamp_delta
    int32_t marker_next               # the next packet we make starts a talk spurt

# Of the next packet, wraps in the upper half: what a receiver that has heard all of them calls it.
cdef inline uint32_t rtp_sender_extended(const RtpSender* s) noexcept nogil:
    return (<uint32_t>s.cycles << 16) | s.sequence

# A packet with s.sequence goes out.
cdef inline void rtp_sender_step(RtpSender* s) noexcept nogil:
    s.sequence += 1
    s.cycles += s.sequence == 0

cdef void rtp_sender_init(RtpSender* s, uint32_t ssrc, uint16_t sequence, uint32_t timestamp) noexcept nogil
# The timestamp that now follows on in real time from the last one sent.
cdef uint32_t rtp_sender_now(const RtpSender* s, int64_t now_ns, int clock_hz) noexcept nogil
# The same for a packet to be sent now: at least one packet time of 20 ms on, however soon it comes.
cdef uint32_t rtp_sender_next(const RtpSender* s, int64_t now_ns, int clock_hz) noexcept nogil
# Another feed (or ourselves) comes next: the next relayed packet makes new offsets.
cdef void rtp_sender_switch(RtpSender* s) noexcept nogil
# Puts this stream's plain header right before a parsed packet's payload (CSRCs, extensions and padding stay behind) and
# its timestamp into packet.timestamp. 0, or -1: older than the feed, drop it.
cdef int rtp_sender_rewrite(RtpSender* s, Packet* packet, int payload_type, int clock_hz, int64_t now_ns) noexcept nogil
# A packet of the feed is not passed on: close the gap so that it is not taken for loss.
cdef void rtp_sender_skip(RtpSender* s, const Packet* packet) noexcept nogil
cdef void rtp_sender_count(RtpSender* s, uint32_t timestamp, int clock_hz, int payload_bytes, int wire_bytes,
                           int64_t now_ns) noexcept nogil

cdef inline uint16_t read_be16(const uint8_t* p) noexcept nogil:
    return <uint16_t>((p[0] << 8) | p[1])

cdef inline uint32_t read_be32(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]

cdef inline void write_be16(uint8_t* p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 8)
    p[1] = <uint8_t>value

cdef inline void write_be32(uint8_t* p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>(value >> 16)
    p[2] = <uint8_t>(value >> 8)
    p[3] = <uint8_t>value

# ns -> RTP units without overflow for any monotonic time.
cdef inline int64_t rtp_units(int64_t ns, int clock_hz) noexcept nogil:
    return (ns // 1000000000) * clock_hz + ((ns % 1000000000) * clock_hz) // 1000000000
