"""Voice quality reports of phones, RFC 6035: `application/vq-rtcpxr` bodies read and written.

Owns the text format. Who may send one and where it goes is the SIP room's and the monitor's business. Phones differ in
what they write: unknown lines and words are stepped over, values out of range are left out, and only a body that is no
report at all is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite

from mediaserver.errors import ParseError
from mediaserver.limits import VQ_REPORT_BYTES_MAX, VQ_REPORT_LINES_MAX
from mediaserver.model import Masked

KINDS = {
    "vqsessionreport": "session",
    "vqintervalreport": "interval",
    "vqalertreport": "alert",
}
TITLES = {"session": "VQSessionReport", "interval": "VQIntervalReport", "alert": "VQAlertReport"}
# line: word -> field of Metrics, lowest, highest (RFC 6035 §4.6)
FIELDS: dict[str, dict[str, tuple[str, float, float]]] = {
    "jitterbuffer": {"JBN": ("buffer_nominal_ms", 0, 65_535), "JBM": ("buffer_max_ms", 0, 65_535)},
    "packetloss": {"NLR": ("loss_percent", 0, 100), "JDR": ("discard_percent", 0, 100)},
    "burstgaploss": {
        "BLD": ("burst_loss_percent", 0, 100),
        "BD": ("burst_ms", 0, 3.6e6),
        "GLD": ("gap_loss_percent", 0, 100),
        "GD": ("gap_ms", 0, 3.6e6),
    },
    "delay": {
        "RTD": ("round_trip_ms", 0, 65_535),
        "ESD": ("end_system_ms", 0, 65_535),
        "IAJ": ("jitter_ms", 0, 65_535),
    },
    "signal": {"SL": ("signal_dbm", -120, 10), "NL": ("noise_dbm", -120, 10), "RERL": ("echo_loss_db", 0, 126)},
    "qualityest": {
        "RLQ": ("r_listening", 0, 120),
        "RCQ": ("r_conversational", 0, 120),
        "MOSLQ": ("mos_listening", 1, 5),
        "MOSCQ": ("mos_conversational", 1, 5),
    },
}
# Looked for at beginnings of words only: else a long one without "=" is tried from each of its letters.
_WORD = re.compile(r'(?<![A-Za-z])([A-Za-z]+)\s*=\s*("[^"]*"|[^\s;]+)')
_LINE = re.compile(r"^([A-Za-z][A-Za-z-]{0,31})\s*:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Metrics:
    """One side's measurements. None: not reported. Percents 0..100, times ms, MOS 1..5."""

    codec: str = ""  # RTP name, lower case
    clock_hz: int | None = None
    buffer_nominal_ms: float | None = None
    buffer_max_ms: float | None = None
    loss_percent: float | None = None
    discard_percent: float | None = None
    burst_loss_percent: float | None = None
    burst_ms: float | None = None
    gap_loss_percent: float | None = None
    gap_ms: float | None = None
    round_trip_ms: float | None = None
    end_system_ms: float | None = None
    jitter_ms: float | None = None
    signal_dbm: float | None = None
    noise_dbm: float | None = None
    echo_loss_db: float | None = None
    r_listening: float | None = None
    r_conversational: float | None = None
    mos_listening: float | None = None
    mos_conversational: float | None = None
    algorithm: str = ""  # QoEEstAlg: by which the phone made its MOS


@dataclass(frozen=True, slots=True)
class VqReport:
    kind: str  # "session", "interval" or "alert"
    call_id: str  # of the SIP dialog
    local_id: Masked = field(default=Masked(""))
    remote_id: Masked = field(default=Masked(""))
    orig_id: Masked = field(default=Masked(""))  # who began the call
    local_addr: str = ""  # "IP=192.0.2.4 PORT=5000 SSRC=0x1a3b5c7d"
    remote_addr: str = ""
    local_group: str = ""
    remote_group: str = ""
    started: str = ""  # RFC 3339, as written
    stopped: str = ""
    local: Metrics | None = None  # what the reporter heard
    remote: Metrics | None = None  # what its peer told it
    alert: str = ""  # of an alert: "NLR critical local"


def read_vq_report(body: bytes) -> VqReport:
    """Raises ParseError: too long, or no report of RFC 6035."""
    if len(body) > VQ_REPORT_BYTES_MAX:
        raise ParseError(f"a quality report of {len(body)} bytes; at most {VQ_REPORT_BYTES_MAX} are read")
    lines = list(_lines(body.decode("utf-8", "replace")))
    if not lines or lines[0][0] not in KINDS:
        raise ParseError("a quality report begins with VQSessionReport, VQIntervalReport or VQAlertReport")
    kind = KINDS[lines[0][0]]
    plain: dict[str, str] = {}
    sides: dict[str, dict[str, str | float]] = {}
    times: dict[str, str] = {}
    side: dict[str, str | float] | None = None
    for name, value in lines[1:]:
        if name in ("localmetrics", "remotemetrics"):
            side = sides.setdefault(name, {})
        elif side is None:
            plain.setdefault(name, value)
        elif name == "timestamps":
            times = times or _words(value)
        else:
            _read_metrics(name, value, side)
    if not plain.get("callid"):
        raise ParseError("a quality report without CallID belongs to no call")
    alert = _words(lines[0][1]) if kind == "alert" else {}
    return VqReport(
        kind=kind,
        call_id=plain["callid"][:256],
        local_id=Masked(plain.get("localid", "")[:256]),
        remote_id=Masked(plain.get("remoteid", "")[:256]),
        orig_id=Masked(plain.get("origid", "")[:256]),
        local_addr=plain.get("localaddr", "")[:128],
        remote_addr=plain.get("remoteaddr", "")[:128],
        local_group=plain.get("localgroup", "")[:128],
        remote_group=plain.get("remotegroup", "")[:128],
        started=times.get("START", "")[:32],
        stopped=times.get("STOP", "")[:32],
        local=_metrics(sides.get("localmetrics")),
        remote=_metrics(sides.get("remotemetrics")),
        alert=" ".join(alert[w] for w in ("TYPE", "SEVERITY", "DIR") if w in alert)[:64],
    )


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(name in lower case, value); folded lines joined, anything else left out."""
    joined: list[str] = []
    for line in text.splitlines()[:VQ_REPORT_LINES_MAX]:
        if line[:1] in (" ", "\t") and joined:
            joined[-1] += " " + line.strip()
        elif line.strip():
            joined.append(line.strip())
    for at, line in enumerate(joined):
        found = _LINE.match(line)
        if found:
            yield found[1].lower(), found[2]
        elif at == 0:  # some phones leave the colon away
            yield line.split()[0].lower()[:32], line


def _words(value: str) -> dict[str, str]:
    return {name.upper(): text.strip('"') for name, text in _WORD.findall(value)}


def _read_metrics(line: str, value: str, into: dict[str, str | float]) -> None:
    words = _words(value)
    if line == "sessiondesc":
        into["codec"] = words.get("PD", "").lower()[:32]
        if words.get("SR", "").isascii() and words.get("SR", "").isdigit() and len(words["SR"]) < 7:
            into["clock_hz"] = int(words["SR"])
    if line == "qualityest":
        into["algorithm"] = words.get("QOEESTALG", "")[:32]
    for word, (name, low, high) in FIELDS.get(line, {}).items():
        try:
            number = float(words[word])
        except (KeyError, ValueError):
            continue
        if (
            isfinite(number) and low <= number <= high
        ):  # RFC 3611's 127, "unavailable", is out of each range that has it
            into[name] = number


def _metrics(values: dict[str, str | float] | None) -> Metrics | None:
    return None if values is None else Metrics(**values)  # type: ignore[arg-type]


def write_vq_report(report: VqReport) -> bytes:
    """The body; only what is known is written."""
    lines = [f"{TITLES[report.kind]}: {'CallTerm' if report.kind == 'session' else report.alert}".rstrip()]
    lines.append(f"CallID: {report.call_id}")
    for name, value in (  # none of these may be missing, and in this order (RFC 6035 §4.6.1, SessionInfo)
        ("LocalID", report.local_id),
        ("RemoteID", report.remote_id),
        ("OrigID", report.orig_id),
        ("LocalAddr", report.local_addr),
        ("RemoteAddr", report.remote_addr),
        ("LocalGroup", report.local_group),
        ("RemoteGroup", report.remote_group),
    ):
        if value:
            lines.append(f"{name}: {value!s}")
    for title, metrics in (("LocalMetrics", report.local), ("RemoteMetrics", report.remote)):
        if metrics is None:
            continue
        lines.append(f"{title}:")
        if report.started:
            lines.append(f"Timestamps: START={report.started} STOP={report.stopped}")
        lines.extend(_metric_lines(metrics))
    return ("\r\n".join(lines) + "\r\n").encode()


_WRITTEN = {
    "JitterBuffer": "jitterbuffer",
    "PacketLoss": "packetloss",
    "BurstGapLoss": "burstgaploss",
    "Delay": "delay",
    "Signal": "signal",
    "QualityEst": "qualityest",
}
_DECIMALS = {"loss_percent": 2, "discard_percent": 2, "mos_listening": 2, "mos_conversational": 2}


def _metric_lines(metrics: Metrics) -> Iterator[str]:
    if metrics.codec:
        rate = f" SR={metrics.clock_hz}" if metrics.clock_hz else ""
        yield f"SessionDesc: PD={metrics.codec}{rate} PLC=3 SSUP=off"
    for title, line in _WRITTEN.items():
        words = []
        for word, (name, _, _) in FIELDS[line].items():
            value = getattr(metrics, name)
            if value is not None:
                words.append(f"{word}={value:.{_DECIMALS.get(name, 0)}f}")
        if line == "qualityest" and metrics.algorithm:
            words.append(f"QoEEstAlg={metrics.algorithm}")
        if words:
            yield f"{title}: {' '.join(words)}"
