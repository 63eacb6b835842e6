# When each packet of one stream is due: reorder, loss, lateness and the delay to hold. Knows sequence numbers, RTP time
# and arrival times only; no payload, no sample. The buffer of samples is ext.playout's business.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.delay cimport DelayTracker
from mediaserver.ext.xr cimport XrLoss

cdef enum:
    JITTER_SLOTS = 128             # packets waiting; 1.3 s at 10 ms, 7.7 s at 60 ms

cdef enum JitterArrival:
    ARRIVAL_QUEUED = 0
    ARRIVAL_LATE = 1
    ARRIVAL_DUPLICATE = 2
    ARRIVAL_FULL = 3               # no slot: skip the oldest (jitter_skip) and offer it again
    ARRIVAL_STRAY = 4              # absurd sequence number, seen once
    ARRIVAL_RESYNC = 5             # a second packet confirms the jump: drop all slots, jitter_resync, offer it again

cdef enum JitterNext:
    NEXT_NONE = 0                  # nothing waits
    NEXT_HERE = 1                  # the next in sequence
    NEXT_AFTER_LOSS = 2            # one later in sequence; `missing` before it

cdef struct JitterBuffer:            # what each packet of a relayed leg touches comes first
    int32_t started
    int32_t anchored               # media clock runs
    int32_t clock_hz
    uint32_t media_timestamp       # RTP time at media_clock_ns
    int64_t media_clock_ns
    uint16_t next_sequence         # to be played next
    uint16_t highest_sequence
    uint16_t stray_sequence        # what a packet would carry that confirms the jump
    uint16_t last_sequence         # of the latest arrival, for the packet time
    int32_t stray
    int32_t passed                 # sequence numbers behind next_sequence that are known about, at most JITTER_SLOTS
    int32_t waiting                # packets received and not passed
    int32_t waiting_blank          # of them without audio
    int32_t in_loss
    uint64_t seen[2]               # bit sequence % 128: received
    uint64_t blank[2]              # likewise: received and holds no audio
    int64_t next_media_ns          # media time where next_sequence should begin
    int64_t packet_ns              # media time of one packet, learnt
    int64_t last_media_ns          # of the latest arrival
    int64_t last_step_ns           # media time between the two latest in-order arrivals
    int64_t delay_ns               # present: between a packet's ideal arrival and its playing
    int64_t starved_ns             # observe: when the next packet was due and not there; 0: not starving
    uint32_t loss_q16              # share of packets that never came in time, smoothed over 256
    uint32_t packets_queued
    uint32_t packets_played
    XrLoss xr
    DelayTracker delay
    int64_t media_ns[JITTER_SLOTS]
    uint32_t packets_late
    uint32_t packets_duplicate
    uint32_t packets_reordered
    uint32_t packets_overflow
    uint32_t packets_lost
    uint32_t loss_events
    uint32_t loss_event_packets
    int64_t stretched_ns           # by whoever plays; a relayed leg's are its virtual playout's
    int64_t compressed_ns
    int64_t cut_ns                 # of that: holes cut short, so that this was neither made up nor heard

cdef void jitter_init(JitterBuffer* j, int64_t min_ns, int64_t max_ns) noexcept nogil
# Forgets sequence and time, keeps what was learnt about the network and all counters.
cdef void jitter_restart(JitterBuffer* j) noexcept nogil
cdef void jitter_resync(JitterBuffer* j, uint16_t sequence) noexcept nogil
cdef JitterArrival jitter_arrive(JitterBuffer* j, uint16_t sequence, uint32_t timestamp, int32_t clock_hz,
                                 int64_t arrival_ns) noexcept nogil
# A packet without audio (telephone-event) used up this sequence number.
cdef void jitter_note(JitterBuffer* j, uint16_t sequence, int64_t arrival_ns) noexcept nogil
# What there is to play; media time of it in *media_ns and how many before it are missing in *missing.
cdef JitterNext jitter_next(const JitterBuffer* j, int32_t* missing, int64_t* media_ns) noexcept nogil
# next_sequence (which is here) has been played and lasts duration_ns; 0 for packets without own time (comfort noise).
cdef void jitter_played(JitterBuffer* j, int64_t duration_ns) noexcept nogil
# The next `missing` never came; judged now.
cdef void jitter_lost(JitterBuffer* j, int32_t missing) noexcept nogil
# Steps over next_sequence unplayed because there is too much; 1 if it was here (its slot must be given back).
cdef int jitter_skip(JitterBuffer* j) noexcept nogil
# How late after its ideal arrival the media at media_ns would be played now.
cdef int64_t jitter_slack_ns(const JitterBuffer* j, int64_t media_ns, int64_t now_ns) noexcept nogil
# Media time from next_media_ns to the end of the newest packet.
cdef int64_t jitter_span_ns(const JitterBuffer* j) noexcept nogil
# The whole buffer for a relayed leg: judges what was due before arrival_ns, then takes the packet in. No sample, no
# slot. Returns nanoseconds that would have had to be concealed.
cdef int64_t jitter_observe(JitterBuffer* j, uint16_t sequence, uint32_t timestamp, int32_t clock_hz,
                            int64_t arrival_ns) noexcept nogil
