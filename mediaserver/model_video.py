"""The vocabulary of video: tracks, what they negotiated, what happens to them. Plain values, as in `model`.

A *track* is one video m-section of a leg: camera or slides. What it receives can be forwarded to other tracks; what it
sends is forwarded from one other track at a time. Video is never decoded in the media plane. On a leg with BUNDLE
(RFC 8843) a track shares the leg's transport, keys and pinned source; a SIP video phone's track has its own ports.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from mediaserver.model import Direction, LegHandle, MediaAddress, SrtpKey

TrackHandle = NewType("TrackHandle", int)  # generation and index in a worker; 0 is never valid

VIDEO_CLOCK_HZ = 90_000  # of every video codec we forward (RFC 7741, 6184, 9628; AV1 RTP specification)


class VideoCodec(enum.StrEnum):
    """RTP encoding names as SDP writes them."""

    VP8 = "VP8"
    H264 = "H264"
    VP9 = "VP9"
    AV1 = "AV1"


class Content(enum.StrEnum):
    """RFC 4796 a=content: what the pictures are."""

    MAIN = "main"
    SLIDES = "slides"


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """One payload type of a track in one direction. rtx_payload_type: of its retransmissions (RFC 4588), if agreed."""

    codec: VideoCodec
    payload_type: int
    rtx_payload_type: int | None = None
    fmtp: Mapping[str, str] = field(default_factory=dict)  # lower-cased keys, e.g. packetization-mode, profile-level-id


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was agreed of RFC 4585 and 5104 in both directions of a track."""

    nack: bool = False
    pli: bool = False
    fir: bool = False
    transport_cc: bool = False
    remb: bool = False
    reduced_size: bool = False  # a=rtcp-rsize (RFC 5506); else feedback comes in compound packets


@dataclass(frozen=True, slots=True)
class ExtensionIds:
    """RTP header extension numbers of a transport (RFC 8285), 1..14; 0: not agreed."""

    mid: int = 0
    rid: int = 0
    repaired_rid: int = 0
    abs_send_time: int = 0
    transport_cc: int = 0
    audio_level: int = 0
    video_orientation: int = 0  # passed on as it came
    dependency_descriptor: int = 0  # passed on as it came


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """Everything the media plane must know of one negotiated track; replaces the former one whole.

    rids: simulcast streams that the peer sends (RFC 8853), lowest quality first; (): one stream.
    ssrcs: what the peer declared by a=ssrc, as (media SSRC, its RTX SSRC or None); (): learnt from MID, RID or type.
    remote, keys, cname: only for a track with ports of its own; a bundled one has its leg's. cname: the leg's.
    """

    mid: str
    direction: Direction
    send: tuple[VideoFormat, ...]
    receive: tuple[VideoFormat, ...]
    content: Content = Content.MAIN
    feedback: Feedback = Feedback()
    extensions: ExtensionIds = ExtensionIds()
    rids: tuple[str, ...] = ()
    ssrcs: tuple[tuple[int, int | None], ...] = ()
    bandwidth_bps_max: int = 0  # the peer's b=TIAS or b=AS; 0: it named none
    remote: MediaAddress | None = None
    remote_rtcp: MediaAddress | None = None
    rtcp_mux: bool = True
    send_key: SrtpKey | None = None
    receive_key: SrtpKey | None = None
    remote_proven: bool = False
    signalling_host: str = ""  # as StreamSettings.signalling_host
    cname: str = ""


@dataclass(frozen=True, slots=True)
class PictureSource:
    """What a party shows: the track it comes by, and in which formats. Its consent covers it, or it is not recorded."""

    track: TrackHandle
    content: Content
    formats: tuple[VideoFormat, ...]


@dataclass(frozen=True, slots=True)
class MediaTrack:
    """An opened track. ssrc, rtx_ssrc: ours, for a=ssrc and a=ssrc-group:FID; the same as long as the track lives."""

    handle: TrackHandle
    leg: LegHandle
    ssrc: int
    rtx_ssrc: int
    host: str = ""  # with ports of its own; else ""
    rtp_port: int = 0
    rtcp_port: int = 0


@dataclass(frozen=True, slots=True)
class KeyFrameWanted:
    """The viewers of this track's pictures need a key frame, and its sender takes no RTCP feedback: ask by SIP INFO."""

    track: TrackHandle


@dataclass(frozen=True, slots=True)
class TrackActive:
    """Pictures began to arrive on this track, or stopped for a second."""

    track: TrackHandle
    active: bool


@dataclass(frozen=True, slots=True)
class LayerChanged:
    """A viewer gets another simulcast stream. rid: "" when the source is one stream; None: bandwidth allows none."""

    track: TrackHandle  # the viewer's
    rid: str | None


VideoEvent = KeyFrameWanted | TrackActive | LayerChanged


@dataclass(frozen=True, slots=True)
class TrackStats:
    """Counters of one track since it opened; monotonic unless said otherwise."""

    track: TrackHandle
    at_ns: int
    packets_received: int
    bytes_received: int
    packets_lost: int  # expected and never arrived, not by RTX either
    packets_recovered: int  # by RTX
    packets_bad: int  # malformed descriptor or header, unknown payload type
    frames_received: int
    key_frames_received: int
    nacks_sent: int  # packets asked for
    key_frames_asked: int  # PLI, FIR or INFO sent to this track's sender
    jitter_ns: int
    bitrate_received_bps: int  # of the last second
    packets_sent: int
    bytes_sent: int
    frames_sent: int
    packets_retransmitted: int
    packets_dropped: int  # not forwarded: layer not chosen, waiting for a key frame, or no bandwidth
    nacks_received: int
    plis_received: int  # PLI and FIR
    bitrate_sent_bps: int
    rid: str | None  # being sent now
    codec: VideoCodec | None  # last received
    remote_loss_fraction: float  # of the last report block about what we send, 0..1; -1: no report yet
    remote_jitter_ns: int
    round_trip_ns: int  # 0: not known yet
    streams: tuple[tuple[str, int], ...] = ()  # simulcast streams its sender sends now, the lowest first: RID, bit/s


@dataclass(frozen=True, slots=True)
class LegBandwidth:
    """What the way to a leg carries, as congestion control sees it. Not monotonic."""

    leg: LegHandle
    estimate_bps: int  # 0: unknown, nothing to learn from
    audio_bps: int  # being sent
    video_bps: int  # being sent
    allotted_bps: int  # for video, after audio
    loss_fraction: float  # by transport-wide feedback, last second
    round_trip_ns: int
