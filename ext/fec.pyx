"""When Opus' in-band FEC pays on the way to one party.

Owns the decision alone; knows no encoder and no leg. FEC takes its bits from the voice, so it costs on a way without
loss and gives on one with: it is on where smoothed loss is above the break-even of the rows in
`mediaserver/quality/factors.py` (`tests/unit/ext/test_fec.py` holds the two together), at once after one report of
heavy loss, and off after several reports below it. Reports of any content and pace cost a few comparisons and switch
it twice in 25 s at the most.
"""

from libc.stdint cimport int64_t

cdef enum:
    # Break-even by the rows, in 1/65536 of what is sent: with the mean run of lost packets 1, 2 and 4. At 32 kbit/s FEC
    # costs the voice four points, at 24 kbit/s nine.
    EVEN_SINGLE_Q16 = 288          # 0.44 %
    EVEN_PAIRS_Q16 = 452           # 0.69 %
    EVEN_RUNS_Q16 = 1199           # 1.83 %
    TIGHT_SINGLE_Q16 = 754         # 1.15 %
    TIGHT_PAIRS_Q16 = 1245         # 1.9 %
    TIGHT_RUNS_Q16 = 3178          # 4.85 %
    TIGHT_BPS = 28000              # below it the rows of 24 kbit/s count
    DENSE_PAIRS = 128              # density within bursts (1 - 1/run) from which runs are taken for pairs
    DENSE_RUNS = 192
    ATTACK = 2                     # more loss than expected counts for a half at once
    RELEASE = 4                    # less for a quarter: at a report in 5 s half of it is forgotten in 12 s
    CALM_REPORTS = 4
    BITRATE_BPS_MIN = 20000

cdef int64_t REPORT_NS_MIN = 400000000     # RFC 3550 §6.2: nobody with audio alone reports so often; the rest is noise
cdef int64_t CALM_NS = 15000000000
cdef int64_t REST_NS = 10000000000         # off for so long at least


cdef int even_q16(int burst_density, int bitrate_bps) noexcept nogil:
    cdef bint tight = bitrate_bps < TIGHT_BPS
    if burst_density >= DENSE_RUNS:
        return TIGHT_RUNS_Q16 if tight else EVEN_RUNS_Q16
    if burst_density >= DENSE_PAIRS:
        return TIGHT_PAIRS_Q16 if tight else EVEN_PAIRS_Q16
    return TIGHT_SINGLE_Q16 if tight else EVEN_SINGLE_Q16


cdef void smooth(Fec* fec, int fraction) noexcept nogil:
    cdef int step = (fraction << 8) - fec.loss_q8
    fec.loss_q8 += step // (ATTACK if step > 0 else RELEASE)


cdef void switch(Fec* fec, bint on, FecReason reason, int64_t now_ns) noexcept nogil:
    fec.reason = reason
    if fec.on == on:
        return
    fec.on = on
    fec.switches += 1
    fec.calm_reports = 0
    if not on:
        fec.off_ns = now_ns


cdef void calmed(Fec* fec, FecReason reason, int64_t now_ns) noexcept nogil:
    if fec.calm_reports == 0:
        fec.calm_ns = now_ns
    fec.calm_reports += 1
    if fec.calm_reports >= CALM_REPORTS and now_ns - fec.calm_ns >= CALM_NS:
        switch(fec, False, reason, now_ns)


cdef bint fec_report(Fec* fec, int fraction, int burst_density, int bitrate_bps, bint repeated,
                     int64_t now_ns) noexcept nogil:
    cdef int even = even_q16(burst_density, bitrate_bps)
    if fec.reported_ns and now_ns - fec.reported_ns < REPORT_NS_MIN:
        return fec.on
    fec.reported_ns = now_ns
    smooth(fec, fraction)
    if bitrate_bps < BITRATE_BPS_MIN:
        switch(fec, False, FEC_UNFIT, now_ns)
    elif repeated:
        switch(fec, False, FEC_RED, now_ns)
    elif fec.loss_q8 >= even + even // 4:
        fec.calm_reports = 0
        if not fec.on and (fec.switches == 0 or now_ns - fec.off_ns >= REST_NS):
            switch(fec, True, FEC_LOSS, now_ns)
    elif fec.on and fec.loss_q8 < even - even // 4:
        calmed(fec, FEC_BURSTS if fec.loss_q8 >= even_q16(0, bitrate_bps) else FEC_CALM, now_ns)
    else:
        fec.calm_reports = 0
    return fec.on


FEC_PERCENT = FEC_LOSS_PERCENT


cdef class FecForTest:
    """One leg's state, report by report."""

    cdef Fec fec

    def report(self, int fraction, long long now_ns, *, int burst_density=0, int bitrate_bps=24000,
               bint repeated=False) -> bool:
        return fec_report(&self.fec, fraction, burst_density, bitrate_bps, repeated, now_ns)

    @property
    def reason(self) -> int:
        return self.fec.reason

    @property
    def switches(self) -> int:
        return self.fec.switches

    @staticmethod
    def even(int burst_density, int bitrate_bps) -> float:
        """The loss at which FEC costs what it gives, 0..1."""
        return even_q16(burst_density, bitrate_bps) / 65536.0
