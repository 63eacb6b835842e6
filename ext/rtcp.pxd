# RTCP of one two-party session: SR/RR + SDES CNAME (+ BYE) out, compound packets in, and when to send the next
# (RFC 3550 §6.2-6.4). Kernels only; the leg says what to report and when it is now.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RTCP_BYTES_MAX = 512               # what we write at the most: SR 52 + SDES 12 + 64 + BYE 8 + XR 232, padded
    RTCP_INTERVAL_MS = 5000            # RFC 3550 §6.2: the minimum, which a two-party call always runs at
    CNAME_BYTES_MAX = 64

cdef struct RtcpReport:                # what goes into one compound packet
    uint32_t ssrc
    int32_t is_sender                  # something was sent since the report before last: SR, else RR
    uint64_t ntp                       # wall clock, NTP format
    uint32_t timestamp                 # RTP time of that instant
    uint32_t packets
    uint32_t bytes
    int32_t has_block
    uint32_t source_ssrc
    int32_t fraction_lost              # 1/256
    int32_t cumulative_lost            # 24 bits signed, clamped by the writer
    uint32_t highest_sequence
    uint32_t jitter
    uint32_t last_sr                   # middle 32 bits of the NTP time in the source's last SR
    uint32_t delay_since_last_sr       # 1/65536 s
    int32_t bye

cdef struct RtcpInput:                 # what one compound packet says to us
    int32_t packets
    int32_t has_sr
    uint32_t sender_ssrc
    uint64_t sr_ntp
    uint32_t sr_timestamp
    uint32_t sr_packets                # sent since its stream began
    int32_t has_block                  # a report block about our SSRC
    uint32_t block_ssrc                # who sent that one
    int32_t fraction_lost
    int32_t cumulative_lost
    uint32_t highest_sequence
    uint32_t jitter
    uint32_t last_sr
    uint32_t delay_since_last_sr
    int32_t bye                        # sender_ssrc says goodbye
    int32_t xr_at                      # where an extended report begins in the packet; 0: there is none
    int32_t xr_size

# out[capacity >= RTCP_BYTES_MAX]; returns bytes.
cdef int rtcp_write(uint8_t* out, const RtcpReport* report, const char* cname) noexcept nogil
# Strict about every length; 0, or -1: not a valid compound packet (RFC 3550 A.2), and `into` means nothing.
cdef int rtcp_parse(const uint8_t* data, int size, uint32_t our_ssrc, RtcpInput* into) noexcept nogil
# The randomised wait until the next report (§6.3.1); first: half of it. random: any 32 bits.
cdef int64_t rtcp_interval_ns(uint32_t random, bint first) noexcept nogil
# Round-trip time of a report block that came at ntp_now; 0: it tells none. ns.
cdef int64_t rtcp_round_trip_ns(uint64_t ntp_now, uint32_t last_sr, uint32_t delay_since_last_sr) noexcept nogil
# Wall clock in ns since 1970 -> 64-bit NTP.
cdef uint64_t ntp_from_wall_ns(int64_t wall_ns) noexcept nogil
