"""Reports of phones by RFC 6035: what they write, what we write, and that rubbish is no crash."""

import time

import pytest

from mediaserver.errors import ParseError
from mediaserver.model import Masked
from mediaserver.quality.vq_report import Metrics, VqReport, read_vq_report, write_vq_report

# After the grammar of RFC 6035 §4.6; numbers of our own.
SESSION = b"""VQSessionReport: CallTerm\r
CallID: 1890463548@pbx.example\r
LocalID: <sip:ann@pbx.example>\r
RemoteID: <sip:bob@pbx.example>\r
OrigID: <sip:ann@pbx.example>\r
LocalAddr: IP=192.0.2.4 PORT=5000 SSRC=1a3b5c7d\r
LocalMAC: 00:1f:5b:cc:21:0f\r
RemoteAddr: IP=192.0.2.9 PORT=5002 SSRC=0x2468abcd\r
LocalMetrics:\r
Timestamps: START=2026-10-10T18:23:43Z STOP=2026-10-10T18:26:02Z\r
SessionDesc: PT=8 PD=PCMA SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP="a=b c" PLC=3 SSUP=on\r
JitterBuffer: JBA=3 JBR=2 JBN=40 JBM=80 JBX=120\r
PacketLoss: NLR=5.0 JDR=2.5\r
BurstGapLoss: BLD=10 BD=300 GLD=2.0 GD=500 GMIN=16\r
Delay: RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10\r
Signal: SL=-18 NL=-50 RERL=127\r
QualityEst: RLQ=90 RCQ=85 EXTRI=90 MOSLQ=4.2\r
 MOSCQ=4.1 QoEEstAlg=P.564\r
RemoteMetrics:\r
JitterBuffer: JBA=3 JBN=60\r
DialogID:38419823470834;to-tag=8472761;from-tag=9123dh311\r
"""


def test_a_phones_session_report_is_read() -> None:
    report = read_vq_report(SESSION)
    assert (report.kind, report.call_id) == ("session", "1890463548@pbx.example")
    assert (report.started, report.stopped) == ("2026-10-10T18:23:43Z", "2026-10-10T18:26:02Z")
    local = report.local
    assert local is not None
    assert (local.codec, local.clock_hz) == ("pcma", 8_000)
    assert (local.loss_percent, local.discard_percent, local.burst_ms) == (5.0, 2.5, 300)
    assert (local.round_trip_ms, local.end_system_ms, local.buffer_nominal_ms) == (200, 140, 40)
    assert (local.mos_listening, local.mos_conversational, local.algorithm) == (4.2, 4.1, "P.564")
    assert local.echo_loss_db is None  # 127: not measured
    assert report.remote == Metrics(buffer_nominal_ms=60)


def test_numbers_are_masked_in_logs() -> None:
    assert "ann" not in repr(read_vq_report(SESSION))


def test_what_is_written_is_read_back() -> None:
    metrics = Metrics(
        codec="pcmu", clock_hz=8_000, loss_percent=1.25, mos_listening=4.01, round_trip_ms=80, burst_ms=200
    )
    made = VqReport("session", "a@b", Masked("<sip:a@b>"), Masked("<sip:c@d>"), Masked("<sip:a@b>"),
                    "IP=::1 PORT=4 SSRC=0x1", "IP=::2 PORT=6 SSRC=0x2", "here", "there", "2026-01-01T00:00:00Z",
                    "2026-01-01T00:01:00Z", metrics, Metrics(mos_conversational=3.5))  # fmt: skip
    assert read_vq_report(write_vq_report(made)) == made


def test_a_time_of_127_ms_is_a_time() -> None:
    """127 says "unavailable" of levels and ratings only; no round trip is unknown because it takes 127 ms."""
    body = b"VQSessionReport: CallTerm\nCallID: x\nLocalMetrics:\nJitterBuffer: JBN=127\nDelay: RTD=127 IAJ=127\n"
    body += b"BurstGapLoss: BD=127 GD=127\nSignal: SL=127 NL=127 RERL=127\nQualityEst: RLQ=127 RCQ=127 MOSLQ=127\n"
    assert read_vq_report(body).local == Metrics(
        buffer_nominal_ms=127, round_trip_ms=127, jitter_ms=127, burst_ms=127, gap_ms=127
    )


def test_alerts_and_intervals_say_what_they_are() -> None:
    alert = b"VQAlertReport: Type=NLR Severity=Critical Dir=local\nCallID: x\nLocalMetrics:\nPacketLoss: NLR=12 JDR=0\n"
    assert read_vq_report(alert).alert == "NLR Critical local"
    assert read_vq_report(b"VQIntervalReport\nCallID: x\n").kind == "interval"


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"hello", b"VQSessionReport: CallTerm\r\n", b"\xff\xfe\x00",
                                  b"VQSessionReport: CallTerm\r\nCallID:\r\n", b"x" * 20_000])  # fmt: skip
def test_what_is_no_report_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(ParseError, match="report"):
        read_vq_report(body)


def test_values_out_of_range_are_left_out() -> None:
    body = b"VQSessionReport: CallTerm\nCallID: x\nLocalMetrics:\n"
    body += b"QualityEst: MOSLQ=99 MOSCQ=nan RLQ=-3 RCQ=inf\nPacketLoss: NLR=255\n"
    assert read_vq_report(body).local == Metrics()


def test_cut_short_at_any_byte_it_is_read_or_refused() -> None:
    for size in range(len(SESSION)):
        try:
            read_vq_report(SESSION[:size])
        except ParseError:
            continue


def test_a_long_word_is_looked_at_once() -> None:
    began_s = time.process_time()
    read_vq_report(b"VQAlertReport: " + b"A" * 16_000 + b"\r\nCallID: x\r\n")
    assert time.process_time() - began_s < 0.3  # 1.7 s, when each of its letters was a beginning
