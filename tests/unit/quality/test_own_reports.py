"""What a collector is told of a leg when it ends, read back by the reader for phones' reports."""

import dataclasses

from mediaserver.model import CodecName, MediaAddress
from mediaserver.quality.monitor import QualityMonitor
from mediaserver.quality.own_reports import OwnReports
from mediaserver.quality.vq_report import read_vq_report
from mediaserver.settings import QualitySettings
from tests.unit.quality.test_monitor import SECOND, STREAM, ZERO, Desk, leg, stats

FACTS = dataclasses.replace(
    leg(), sip_call_id="77@phone", local=MediaAddress("192.0.2.1", 20_000), remote=MediaAddress("192.0.2.9", 4_000)
)


class Told(Desk):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.own = OwnReports(self.bodies.append)
        self.monitor = QualityMonitor(
            QualitySettings(interval_s=5.0), self.engine, self.store, self.clock,  # type: ignore[arg-type]
            on_row=self.own.score,
        )  # fmt: skip

    def call(self, **counters: object) -> list[bytes]:
        self.engine.now[FACTS.handle] = ZERO
        self.monitor.leg_opened("c1", FACTS, STREAM)
        self.clock.advance(10 * SECOND)
        end = stats(**counters)
        self.monitor.leg_closed("c1", FACTS, end)
        self.own.leg_closed("c1", FACTS, end)
        return self.bodies


def test_a_leg_that_ends_is_told_in_both_directions() -> None:
    (body,) = Told().call(
        packets_expected=500, packets_lost=20, packets_late=5, packets_received=475, frames_played=500,
        jitter_ns=4_000_000, round_trip_ns=80_000_000, packets_sent=500, remote_loss_fraction=0.0,
        remote_packets_lost=10, remote_jitter_ns=2_000_000,
    )  # fmt: skip
    report = read_vq_report(body)
    assert (report.kind, report.call_id) == ("session", "77@phone")
    assert report.started.endswith("Z")
    assert report.stopped > report.started
    assert report.local is not None
    assert report.remote is not None
    assert (report.local.codec.upper(), report.local.loss_percent, report.local.discard_percent) == (
        CodecName.PCMU, 4.0, 1.0
    )  # fmt: skip
    assert (report.local.jitter_ms, report.local.round_trip_ms) == (4, 80)
    assert report.remote.loss_percent == 2.0
    assert report.local.mos_conversational is not None
    assert report.remote.mos_conversational is not None
    assert 1 <= report.local.mos_conversational < report.remote.mos_conversational <= 4.5
    assert report.local.algorithm


def test_every_line_that_the_grammar_asks_for_is_there_and_in_its_order() -> None:
    """RFC 6035 §4.6.1: a strict collector takes nothing less."""
    (body,) = Told().call(
        packets_expected=500, packets_received=500, packets_sent=500, sent_ssrc=0xABC, received_ssrc=0x12345678
    )
    lines = body.decode().split("\r\n")
    assert lines[:10] == [
        "VQSessionReport: CallTerm",
        "CallID: 77@phone",
        "LocalID: <sip:192.0.2.1>",
        "RemoteID: <sip:100>",
        "OrigID: <sip:100>",
        "LocalAddr: IP=192.0.2.1 PORT=20000 SSRC=0x00000abc",
        "RemoteAddr: IP=192.0.2.9 PORT=4000 SSRC=0x12345678",
        "LocalGroup: mediaserver",
        "RemoteGroup: users",
        "LocalMetrics:",
    ]
    assert lines[10].startswith("Timestamps: START=")


def test_a_leg_that_was_never_scored_or_has_no_sip_call_is_not_told() -> None:
    told = Told()
    told.own.leg_closed("c9", FACTS, None)
    assert told.call() == []
    silent = dataclasses.replace(FACTS, sip_call_id="")
    told.own.leg_closed("c1", silent, None)
    assert told.bodies == []
