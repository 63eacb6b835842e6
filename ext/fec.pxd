# Whether what one party is sent carries Opus' in-band FEC (RFC 7587 §3.3): decided by its reports, at what FEC costs.
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef enum:
    # What the encoder is told of loss while FEC is on: one step for all loss (docs/quality.md). At 5 % and less libopus
    # 1.3 leaves FEC out where the bitrate is tight. 8 or 10 % may give a little more at 10 % loss and take more from
    # the voice below; 13 % was worse than 6 % at 10 % loss and less, but for the lowest bitrates.
    FEC_LOSS_PERCENT = 6

cdef enum FecReason:                   # of the present state; model.FEC_REASONS has the words
    FEC_NEVER = 0                      # no report yet, or none that asked for it
    FEC_LOSS = 1                       # on: there is loss that it mends
    FEC_CALM = 2                       # off again: it would cost more than it gives
    FEC_RED = 3                        # off: RED carries every payload once more already
    FEC_BURSTS = 4                     # off: what is lost comes in runs, which it does not mend
    FEC_UNFIT = 5                      # off: the party does not use it, another codec, or a bitrate too low for it

cdef struct Fec:                       # of one leg; zeroed is ready
    int32_t on
    int32_t reason
    uint32_t switches
    int32_t loss_q8                    # smoothed fraction of its reports, 1/256 * 256
    int32_t calm_reports               # in a row
    int64_t calm_ns                    # when the first of them came
    int64_t reported_ns                # when the last report came that counted; 0: none yet
    int64_t off_ns                     # when it was switched off last

# A receiver report says which share of what we sent was lost, in 1/256. bitrate_bps: of the encoder that could carry
# FEC; 0: there is none. burst_density: share lost within bursts, 1/256, as RTCP XR says it; 0: not known. Returns
# whether FEC is on.
cdef bint fec_report(Fec* fec, int fraction, int burst_density, int bitrate_bps, bint repeated,
                     int64_t now_ns) noexcept nogil
