"""What the engine keeps of legs, bridges and taps, and how the workers' words become the vocabulary's values."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from mediaserver.ext.tap import TapRing
from mediaserver.media.doors import Connection, Door, Doors, Place
from mediaserver.media.link import WorkerLink
from mediaserver.media.ports import SocketPair
from mediaserver.model import (
    FEC_REASONS,
    ActiveSpeaker,
    BridgeHandle,
    DtmfDigit,
    DtmfSource,
    LegDatagram,
    LegHandle,
    LegStats,
    MediaEvent,
    MediaSilent,
    PlayFinished,
    PlayId,
    SourceLatched,
    StreamSettings,
    TapHandle,
)
from mediaserver.model_delivery import PacketRange
from mediaserver.model_far import RemoteConcealment, RemoteXr

XR_UNAVAILABLE = 127  # RFC 3611 §4.7
DTMF_SOURCES = (DtmfSource.RTP_EVENT, DtmfSource.SIP_INFO, DtmfSource.IN_BAND)  # ext/dtmf.pxd DtmfWay


@dataclass(slots=True)
class Leg:
    """What the engine keeps of a leg: where it lives now, and its sockets until the worker has let go of them."""

    handle: LegHandle
    link: WorkerLink
    native: int  # the worker's handle
    sockets: SocketPair | None  # None: a browser at the shared port
    call_id: str  # that it was opened in, for the log
    calls: frozenset[str]  # what it is part of: a consent is good for it only if it was given there; empty: in any
    place: Place | None = None  # what it has of the shared port
    stream: StreamSettings | None = None  # likewise: what was set last
    last: LegStats | None = None  # while it moves to another worker
    moved: asyncio.Future[None] | None = None
    closing: bool = False
    spirals: bool = False  # its peer may send a call back to us
    followers: list[LegHandle] = field(default_factory=list)  # legs of its tracks with own ports: they go where it goes

    @property
    def host(self) -> str:
        """The address of ours that its sockets are bound to."""
        if self.sockets is not None:
            return str(self.sockets.rtp.getsockname()[0])
        return self.place.door.host if self.place is not None else ""


@dataclass(slots=True)
class Bridge:
    """Lives on the worker of the first leg that joins it; before that nowhere."""

    handle: BridgeHandle
    link: WorkerLink | None = None
    native: int = 0
    legs: set[LegHandle] = field(default_factory=set)


@dataclass(slots=True)
class Tap:
    handle: TapHandle
    leg: LegHandle  # whose packets it gets; of a track with own ports the leg of those
    ring: TapRing
    track: int = 0  # its number there; 0: the leg's sound


def event_of(doors: Doors, link: WorkerLink, message: tuple[Any, ...]) -> MediaEvent | None:
    """A worker's message about a leg or bridge as an event; None: what it is about is gone, or a stranger's."""
    kind, kept = message[0], link.kept(message[1])
    if kept is None:
        return None
    if isinstance(kept, (Door, Connection)):
        return _at_the_door(doors, link, kept, message)
    if kind == "speaker":
        speaker = link.kept(message[2])
        return ActiveSpeaker(kept.handle, speaker.handle) if speaker is not None else None
    if kind == "datagram":
        source = doors.address(link, message[2])
        return LegDatagram(kept.handle, source, message[3]) if source is not None else None
    if kind == "source":
        source = doors.address(link, message[2])
        return SourceLatched(kept.handle, source) if source is not None else None
    if kind == "silence":
        return MediaSilent(kept.handle, message[2])
    if kind == "digit":
        return DtmfDigit(kept.handle, message[2], message[3], DTMF_SOURCES[message[4]])
    sent = None if message[4] is None else PacketRange(*message[4])
    return PlayFinished(kept.handle, PlayId(message[2]), message[3], sent)


def _at_the_door(
    doors: Doors, link: WorkerLink, kept: Door | Connection, message: tuple[Any, ...]
) -> MediaEvent | None:
    if message[0] == "conn_closed" and isinstance(kept, Connection):
        doors.closed(kept)
        return None
    source, data = doors.address(link, message[2]), message[3]
    leg = doors.leg_of(kept, data)
    return LegDatagram(leg, source, data) if leg is not None and source is not None else None


def leg_stats(leg: LegHandle, raw: dict[str, Any]) -> LegStats:
    """raw: a worker's snapshot by field name (ext/leg.pxd LegSnapshot); its source as MediaAddress or None."""
    fields = {name: raw[name] for name in LegStats.__slots__ if name in raw}
    fraction = raw["remote_fraction"]
    source = raw["source"]
    fields.update(
        leg=leg,
        level_dbov=float(raw["level_dbov"]),
        remote_loss_fraction=fraction / 256 if fraction >= 0 else -1.0,
        relayed=bool(raw["relayed"]),
        fec_on=bool(raw["fec_on"]),
        fec_reason=FEC_REASONS[raw["fec_reason"]],
        source=source,
        remote_xr=remote_xr(raw) if raw["xr_known"] else None,
        remote_concealment=remote_concealment(raw) if raw["far_parts"] else None,
    )
    return LegStats(**fields)


def remote_xr(raw: dict[str, Any]) -> RemoteXr:
    def said(value: int, unit: float) -> float | None:
        return None if value == XR_UNAVAILABLE else value / unit

    return RemoteXr(
        loss_fraction=raw["xr_loss_rate"] / 256,
        discard_fraction=raw["xr_discard_rate"] / 256,
        burst_density=raw["xr_burst_density"] / 256,
        gap_density=raw["xr_gap_density"] / 256,
        burst_ms=raw["xr_burst_ms"],
        gap_ms=raw["xr_gap_ms"],
        end_system_ms=raw["xr_end_system_ms"],
        buffer_ms=raw["xr_buffer_ms"],
        r=None if raw["xr_r"] == XR_UNAVAILABLE else raw["xr_r"],
        mos_listening=said(raw["xr_mos_lq10"], 10),
        mos_conversational=said(raw["xr_mos_cq10"], 10),
        reporter=raw["xr_reporter"],
        reports=raw["xr_reports"],
        packets_sent=raw["xr_sent"],
    )


def remote_concealment(raw: dict[str, Any]) -> RemoteConcealment:
    times, seconds = raw["far_parts"] & 1, raw["far_parts"] & 2  # ext/concealment.pxd MADE_UP_…
    return RemoteConcealment(
        on_time_ms=raw["far_on_time_ms"] if times else None,
        concealed_ms=raw["far_concealed_ms"] if times else None,
        adjusted_ms=raw["far_adjusted_ms"] if times else None,
        interrupts=raw["far_interrupts"] if times else None,
        unimpaired_s=raw["far_unimpaired_s"] if seconds else None,
        concealed_s=raw["far_concealed_s"] if seconds else None,
        severe_s=raw["far_severe_s"] if seconds else None,
    )
