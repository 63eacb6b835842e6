"""What the capture server is told of calls: SIP as it came and went, RTCP and quality of each interval, the call's end.

Owns which of a call's facts become which HEP packet. The correlation id is the SIP Call-ID of the leg, so that Homer
shows its messages, its reports and its score together.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from mediaserver.limits import METRICS_LEGS_MAX
from mediaserver.model import CallFacts, LegFacts, LegStats, MediaAddress, StreamSettings
from mediaserver.quality.hep import CALL_QUALITY, LOG, QUALITY, RTCP, SIP, HepSender
from mediaserver.store.quality import QualityRow

_CALL_ID = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
# What the groups take opens something: a media key (RFC 4568, 4567), ICE's password, an answer to a challenge (from it
# a password is guessed at leisure), a key of a keypad, which may be of a card number.
_SECRETS = re.compile(
    rb"\binline:[ \t]*([^\s|;]+)"
    rb"|^(?:a=key-mgmt:\S+[ \t]+|k=)([^\r\n]+)"
    rb"|^a=ice-pwd:([^\r\n]+)"
    rb'|\b(?:response|rspauth)[ \t\r\n]*=[ \t\r\n]*"?([^"\s,]+)'
    rb"|^(?:Proxy-)?Authorization[ \t]*:\s*(?:Basic|Bearer)\s+([^\r\n]+)"
    rb"|^[ \t]*Signal[ \t]*=[ \t]*([^\r\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_KEYS_ALONE = re.compile(rb"^(?:Content-Type|c)[ \t]*:\s*application/dtmf[ \t]*[;\r\n]", re.IGNORECASE | re.MULTILINE)
NOWHERE = MediaAddress("0.0.0.0", 0)  # noqa: S104  # "not known", nothing is bound to it


class Capture:
    """An observer of calls, after the monitor: a leg is forgotten when its last score has been told."""

    def __init__(self, hep: HepSender) -> None:
        self._hep = hep
        self._legs: dict[tuple[str, str], LegFacts] = {}

    # -- signalling

    def sip(self, message: bytes, here: MediaAddress, there: MediaAddress, outgoing: bool, transport: str) -> None:
        """One message as it stood on the wire, but for secrets. Keepalives and what has no Call-ID are left out."""
        found = _CALL_ID.search(message)
        if found is None:
            return
        source, destination = (here, there) if outgoing else (there, here)
        call_id = found[1].decode("utf-8", "replace").strip()
        self._hep.send(SIP, without_secrets(message), source, destination, call_id, transport)

    # -- log

    def log_line(self, event: Mapping[str, Any]) -> None:
        """A line that is about a call, under the Call-ID of its first leg. Lines of other threads are left out."""
        call_id = event.get("call_id")
        leg = next((leg for (call, _), leg in self._legs.items() if call == call_id), None) if call_id else None
        if leg is None or not self._hep.wants("log") or not _in_loop():
            return
        here, there = leg.local or NOWHERE, leg.source or leg.remote or NOWHERE
        text = " ".join([str(event.get("level", "")), str(event.get("event", "")), *_words(event)]).strip()
        self._hep.send(LOG, text.encode(), here, there, leg.sip_call_id)

    # -- the call room's observer

    def call_started(self, call: CallFacts) -> None:
        pass

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._legs[call_id, leg.leg_id] = leg
        if len(self._legs) > METRICS_LEGS_MAX:  # legs whose end was lost: the oldest goes
            del self._legs[next(iter(self._legs))]

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._legs[call_id, leg.leg_id] = leg

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        self._legs.pop((call_id, leg.leg_id), None)

    def call_ended(self, call: CallFacts) -> None:
        pass

    # -- scores

    def score(self, row: QualityRow, stats: LegStats | None) -> None:
        leg = self._legs.get((row.call_id, row.leg_id))
        if leg is None:
            return
        here, there = leg.local or NOWHERE, leg.source or leg.remote or NOWHERE
        source, destination = (there, here) if row.direction == "received" else (here, there)
        if self._hep.wants("quality"):
            kind = CALL_QUALITY if row.whole_call else QUALITY
            self._hep.send(kind, quality_json(row, leg), source, destination, leg.sip_call_id)
        if stats is not None and not row.whole_call and self._hep.wants("rtcp"):
            self._hep.send(RTCP, rtcp_json(row, stats), destination, source, leg.sip_call_id)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _words(event: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in event.items() if name not in ("level", "event", "exception")]


def without_secrets(message: bytes) -> bytes:
    """Each secret as so many x: all else of the message, its Content-Length too, stays true."""
    if _KEYS_ALONE.search(message):
        head, gap, body = message.partition(b"\r\n\r\n")
        message = head + gap + b"x" * len(body)
    return _SECRETS.sub(_crossed_out, message)


def _crossed_out(found: re.Match[bytes]) -> bytes:
    start, end = found.span(found.lastindex or 0)
    before, after = found[0][: start - found.start()], found[0][end - found.start() :]
    return before + b"x" * (end - start) + after


def quality_json(row: QualityRow, leg: LegFacts) -> dict[str, Any]:
    """In the names of Homer's RTP reports where it has them, and ours beside."""
    return {
        "CORRELATION_ID": leg.sip_call_id,
        "CALL_ID": row.call_id,
        "LEG": row.leg_id,
        "DIR": row.direction,
        "CODEC_NAME": row.codec,
        "MOS": round(row.mos, 3),
        "MIN_MOS": round(row.mos_worst, 3),
        "RFACTOR": round(row.r, 2),
        "PACKET_LOSS": round(100 * row.loss, 3),
        "JITTER": round(row.jitter_ms, 2),
        "DELAY": round(row.delay_ms, 1),
        "DURATION": row.length_ms,
        "mos_scale": row.scale,
        "mos_model": row.model,
        "mos_basis": row.basis,
        "mos_missing": row.missing,
        "cause": row.cause,
        "costs": {
            "codec": row.cost_codec,
            "loss": row.cost_loss,
            "burst": row.cost_burst,
            "late": row.cost_late,
            "delay": row.cost_delay,
        },
        "dropout_ms": row.dropout_ms,
    }


def rtcp_json(row: QualityRow, stats: LegStats) -> dict[str, Any]:
    """A report block of what the receiving side of this direction says, as HEP's RTCP JSON has it."""
    received = row.direction == "received"
    lost = stats.packets_lost if received else stats.remote_packets_lost
    return {
        "type": 201,
        "report_count": 1,
        "report_blocks": [
            {
                "fraction_lost": min(255, int(256 * row.loss)),
                "packets_lost": max(0, lost),
                "ia_jitter": int(row.jitter_ms * 8),  # RTP units at 8 kHz
                "highest_seq_no": max(0, stats.packets_expected if received else stats.packets_sent),
            }
        ],
        "mos": round(row.mos, 3),
        "rtt_ms": row.rtt_ms,
    }
