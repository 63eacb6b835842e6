# RTCP extended reports (RFC 3611; RFC 6776, RFC 7294): the loss counters behind them, the packet we send, and what a
# peer's packet says. Kernels only; the leg says what to report.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.concealment cimport MadeUp, MadeUpTold

cdef enum:
    XR_DROPOUT_NS = 200000000          # a hole so long is heard as one
    XR_GMIN = 16                       # RFC 3611 §4.7.2: packets received in a row that end a burst
    XR_BYTES_MAX = 232                 # header 8, RRTR 12, DLRR 16, summary 40, VoIP 36, RFC 6776 32, RFC 7294 28 + 20
    XR_UNAVAILABLE = 127

cdef enum XrBlocks:                    # bits of Stream.xr: what the peer asked for (RFC 3611 §5.1)
    XR_REFERENCE_TIME = 1
    XR_SUMMARY = 2
    XR_VOIP = 4
    XR_CONCEALMENT = 8

# Appendix A.2 for one stream, in order of playing; what came too late is lost to the listener. Zeroed is ready.
cdef struct XrLoss:
    uint32_t since                     # packets received since the last loss
    uint32_t in_burst                  # losses of the burst (or lone loss) that is still open; 0: none yet
    uint32_t c11                       # counters by the names of Appendix A; c13 counts bursts that have ended
    uint32_t c13
    uint32_t c14
    uint32_t c22
    uint32_t c23
    uint32_t c33
    int32_t dropping                   # the present run is a dropout already
    int64_t run_ns                     # of the present run of lost packets
    uint32_t dropouts                  # runs and stalls of 200 ms or more: what everybody hears as a hole
    int64_t dropout_ns                 # their length together
    int64_t packet_ns                  # of the last one heard of; 0: not known yet

cdef struct XrBursts:                  # what Appendix A makes of the counters
    uint8_t burst_density              # 1/256
    uint8_t gap_density
    uint16_t burst_ms
    uint16_t gap_ms

# Seconds by what was made up in them, RFC 7294 §4. Zeroed is ready.
cdef struct XrSeconds:
    int64_t began_ns
    uint32_t played_before             # in frames of 20 ms
    uint32_t concealed_before
    uint32_t unimpaired
    uint32_t concealed
    uint32_t severe                    # of those, with more than 10 % made up

cdef struct XrReport:                  # what goes into one XR packet
    uint32_t ssrc
    uint32_t source_ssrc
    uint32_t blocks                    # XrBlocks
    uint64_t ntp
    uint32_t last_rr                   # of the peer's reference time report; 0: none came, no DLRR
    uint32_t delay_since_last_rr       # 1/65536 s
    uint16_t begin_sequence            # statistics summary: [begin, end)
    uint16_t end_sequence
    uint32_t lost                      # in that
    uint32_t duplicate
    uint32_t highest_sequence          # extended
    uint64_t expected                  # whole session
    uint64_t lost_all                  # never came
    uint64_t discarded_all             # came too late or when there was no room
    XrBursts bursts
    int32_t round_trip_ms
    int32_t end_system_ms
    int32_t r                          # 0..100, or XR_UNAVAILABLE
    int32_t mos_lq10                   # 10..50, or XR_UNAVAILABLE
    int32_t mos_cq10
    int32_t buffer_nominal_ms
    int32_t buffer_max_ms
    int64_t session_ns
    uint32_t on_time_ms
    uint32_t concealed_ms
    uint32_t adjusted_ms
    uint32_t interrupts
    uint32_t interrupt_ms              # mean
    uint32_t seconds_unimpaired
    uint32_t seconds_concealed
    uint32_t seconds_severe

cdef struct XrInput:                   # what one XR packet says to us; has_* 0: nothing of the kind
    int32_t has_reference
    uint32_t reference                 # middle 32 bits of the peer's NTP time
    int32_t has_delay
    uint32_t last_rr
    uint32_t delay_since_last_rr
    int32_t has_voip                   # about what we send, as all below
    int32_t loss_rate                  # 1/256, as the next three
    int32_t discard_rate
    int32_t burst_density
    int32_t gap_density
    int32_t burst_ms
    int32_t gap_ms
    int32_t round_trip_ms
    int32_t end_system_ms
    int32_t r                          # XR_UNAVAILABLE: it does not say; likewise the MOS values
    int32_t mos_lq10
    int32_t mos_cq10
    int32_t buffer_nominal_ms
    int32_t has_summary
    uint32_t summary_lost
    uint32_t summary_duplicate
    uint32_t reporter                  # SSRC of who says so
    MadeUpTold made_up                 # RFC 7294

cdef struct XrState:                   # of one leg; zeroed is ready
    XrSeconds seconds
    uint32_t last_rr                   # middle 32 bits of the peer's last reference time
    int64_t last_rr_ns
    XrInput remote                     # the last of each kind of block
    uint64_t voip_sent                 # packets we had sent when its VoIP metrics came
    uint32_t voip_reports
    MadeUp made_up                     # of what we send, as the peer says
    uint32_t highest_before            # at our last summary
    uint64_t lost_before
    uint64_t duplicate_before

cdef inline void xr_received(XrLoss* x, int64_t packet_ns) noexcept nogil:
    x.packet_ns = packet_ns
    x.since += 1
    x.run_ns = 0
    x.dropping = 0

# `packets` in a row are lost to the listener, each packet_ns long.
cdef void xr_lost(XrLoss* x, int32_t packets, int64_t packet_ns) noexcept nogil
# Nothing came for so long, and nothing of it was lost: a hole that no counter of packets knows.
cdef inline void xr_stalled(XrLoss* x, int64_t stalled_ns) noexcept nogil:
    x.dropouts += 1
    x.dropout_ns += stalled_ns

# Times are in the sender's present packets; of 20 ms while nothing is known of them.
cdef void xr_bursts(const XrLoss* x, XrBursts* into) noexcept nogil
cdef void xr_loss_add(XrLoss* total, const XrLoss* more) noexcept nogil
# Frames of 20 ms since the stream began; call it a few times a second.
cdef void xr_second(XrSeconds* s, uint32_t played, uint32_t concealed, int64_t now_ns) noexcept nogil
# R of G.711 with concealment on the narrowband scale by ITU-T G.107 for listening alone; loss: share lost or discarded.
cdef double xr_listening_r(double loss, double burst_ratio) noexcept nogil
cdef double xr_delay_cost(double delay_ms) noexcept nogil
cdef double xr_mos(double r) noexcept nogil

# out[capacity >= XR_BYTES_MAX]; returns bytes, a whole XR packet; 0: there is nothing to say.
cdef int xr_write(uint8_t* out, const XrReport* report) noexcept nogil
# One XR packet of `size` bytes, header included. Blocks that are too long for it end the reading; adds to `into`.
cdef void xr_read(const uint8_t* data, int size, uint32_t our_ssrc, XrInput* into) noexcept nogil
