# What the way to one receiver carries, by its transport-wide feedback: Google's congestion control as in
# draft-ietf-rmcat-gcc-02, delay-gradient and loss-based controllers, and probes that find more than is being sent.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from mediaserver.ext.video_feedback cimport TransportReport
from mediaserver.ext.video_rate cimport RateMeter

cdef enum:
    ESTIMATE_SENT_MAX = 2048           # packets whose feedback may still come: 3 s at 5 Mbit/s. 2^n
    ESTIMATE_TREND_MAX = 20            # packet groups the delay trend is taken over
    ESTIMATE_START_BPS = 1000000
    ESTIMATE_BPS_MIN = 30000
    ESTIMATE_BPS_MAX = 50000000

cdef enum DelaySignal:
    DELAY_NORMAL = 0
    DELAY_OVERUSE = 1
    DELAY_UNDERUSE = 2

cdef enum RateState:
    RATE_HOLD = 0
    RATE_INCREASE = 1
    RATE_DECREASE = 2

cdef struct SentNote:
    int64_t sent_ns                    # 0: told of already
    uint16_t number
    uint16_t size                      # octets on the wire
    uint32_t probe                     # of which cluster; 0: none

cdef struct PacketGroup:               # packets sent within a burst
    int64_t first_sent_us
    int64_t last_sent_us
    int64_t first_arrival_us
    int64_t last_arrival_us

cdef struct Probe:
    uint32_t number                    # 0: none is under way
    int64_t bps
    int64_t bytes_left                 # still to be sent
    int64_t began_ns
    int64_t bytes                      # acknowledged
    int32_t packets
    int32_t first_size
    int32_t last_size
    int64_t first_sent_us
    int64_t last_sent_us
    int64_t first_arrival_us
    int64_t last_arrival_us

cdef struct Estimator:                 # zeroed, then estimate_init
    int64_t bps                        # the result
    int64_t round_trip_ns              # of feedback: 0 not known
    int64_t feedback_ns                # last one; 0: none came yet
    double loss_fraction               # last window
    # --- what was sent
    int64_t last_sent_ns
    uint16_t next
    SentNote sent[ESTIMATE_SENT_MAX]
    RateMeter acknowledged
    # --- delay
    int32_t groups
    PacketGroup group
    PacketGroup before
    double accumulated_ms
    double smoothed_ms
    int32_t trend_count
    double trend_x[ESTIMATE_TREND_MAX]
    double trend_y[ESTIMATE_TREND_MAX]
    double trend
    double threshold
    int64_t threshold_us
    double over_ms
    int32_t over_count
    int32_t signal                     # DelaySignal
    # --- rate
    int32_t state                      # RateState
    int64_t delay_bps
    int64_t loss_bps
    int64_t changed_ns
    int64_t decreased_ns
    double capacity_kbps               # around the rates of past overuse; 0: none known
    double capacity_variance
    # --- loss
    int32_t window_received
    int32_t window_lost
    int64_t window_ns
    # --- probing
    Probe probe
    uint32_t probes
    int64_t probe_next_ns

cdef void estimate_init(Estimator* e, uint16_t first) noexcept nogil
# One packet leaves now; the number to put into it.
cdef uint16_t estimate_sent(Estimator* e, int size, int64_t now_ns) noexcept nogil
cdef void estimate_feedback(Estimator* e, const TransportReport* report, int64_t now_ns) noexcept nogil
# What was sent is not told of for long: what was believed is believed less. Nothing was sent for long: what was
# believed of a queue is forgotten. Call every tick.
cdef void estimate_tick(Estimator* e, int64_t now_ns) noexcept nogil
# A probe may begin when more is wanted than the estimate: its bits per second, or 0.
cdef int64_t estimate_probe(Estimator* e, int64_t wanted_bps, int64_t now_ns) noexcept nogil
