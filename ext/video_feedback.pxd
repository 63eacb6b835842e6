# RTCP feedback as bytes: NACK (RFC 4585 §6.2), transport-wide (draft-holmer-rmcat-transport-wide-cc-extensions), PLI
# (RFC 4585 §6.3.1), FIR (RFC 5104 §4.3.1), REMB (draft-alvestrand-rmcat-remb). Writers append one packet, readers check
# every length; whose SSRC it is, the caller knows.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    RTCP_SENDER_REPORT = 200
    RTCP_RECEIVER_REPORT = 201
    RTCP_GOODBYE = 203
    RTCP_TRANSPORT_FEEDBACK = 205
    RTCP_PAYLOAD_FEEDBACK = 206
    FEEDBACK_NACK = 1
    FEEDBACK_TRANSPORT = 15
    FEEDBACK_PLI = 1
    FEEDBACK_FIR = 4
    FEEDBACK_APPLICATION = 15          # REMB, when it says so
    NACK_SEQUENCES_MAX = 128           # of one packet, read or written
    TRANSPORT_PACKETS_MAX = 512        # one feedback message tells of

cdef struct RtcpPart:                  # one packet of a compound one
    int32_t kind
    int32_t count                      # or the feedback format
    int32_t size                       # without padding
    const uint8_t* data

# The part at *at, which moves on to the next. 1; 0: the end; -1: malformed, nothing after it is believed.
cdef int rtcp_next(const uint8_t* data, int size, int* at, RtcpPart* part) noexcept nogil

# Writers: out has room for 64 bytes, and 4 more per sequence number or SSRC. They return the bytes written.
cdef int write_nack(uint8_t* out, uint32_t sender, uint32_t media, const uint16_t* sequences, int count) noexcept nogil
cdef int write_pli(uint8_t* out, uint32_t sender, uint32_t media) noexcept nogil
cdef int write_fir(uint8_t* out, uint32_t sender, uint32_t media, int number) noexcept nogil
cdef int write_remb(uint8_t* out, uint32_t sender, int64_t bps, const uint32_t* ssrcs, int count) noexcept nogil
cdef int write_empty_report(uint8_t* out, uint32_t sender, const char* cname) noexcept nogil

# The sequence numbers one NACK asks for; at most capacity. -1: malformed.
cdef int read_nack(const RtcpPart* part, uint16_t* out, int capacity) noexcept nogil
# Bits per second, or -1: no REMB.
cdef int64_t read_remb(const RtcpPart* part) noexcept nogil
# The media SSRCs a FIR asks; at most capacity. -1: malformed.
cdef int read_fir(const RtcpPart* part, uint32_t* out, int capacity) noexcept nogil

cdef struct TransportReport:           # one transport-wide feedback message
    uint16_t first                     # sequence number of the first packet
    int32_t count
    int64_t reference_us               # the receiver's clock, in steps of 64 ms; wraps after 12 days
    uint8_t received[TRANSPORT_PACKETS_MAX]
    int64_t at_us[TRANSPORT_PACKETS_MAX]   # arrival by the receiver's clock; of those received

# 0, or -1: malformed, or about more packets than we keep.
cdef int read_transport(const RtcpPart* part, TransportReport* into) noexcept nogil
# arrivals_us[count]: by our clock, -1 for a packet that did not come; at least one came. Returns the bytes written and
# puts the number of packets it tells of, from the first on, into *told.
cdef int write_transport(uint8_t* out, int capacity, uint32_t sender, uint32_t media, uint16_t first,
                         const int64_t* arrivals_us, int count, int number, int* told) noexcept nogil
