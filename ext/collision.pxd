# SSRC collisions and loops, RFC 3550 §8.2: a peer that uses the SSRC of what we send it.
from libc.stdint cimport int32_t, int64_t, uint64_t
from mediaserver.ext.net cimport Address

cdef enum:
    CONFLICTS_MAX = 4                  # hosts of one leg: a peer has one, and a few while it moves

cdef struct Conflict:
    Address source
    int64_t seen_ns                    # last; 0: free

cdef struct Collisions:                # of one leg; zeroed is ready
    Conflict conflicts[CONFLICTS_MAX]
    uint64_t changes                   # times our SSRC was given up
    uint64_t looped                    # packets with our SSRC from who had it before: our own, come back
    uint64_t packets_before            # of RtpSender's, sent under the SSRCs before: a report counts from zero
    uint64_t bytes_before
    int32_t lost_before                # likewise, lost by the peer's last report
