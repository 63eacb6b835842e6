"""One video section as a peer described it: formats, streams (rid and simulcast RFC 8853, a=ssrc RFC 5576), content
(RFC 4796), bandwidth. Owns reading; `video_lines` decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mediaserver.limits import SDP_SIMULCAST_STREAMS_MAX, SDP_SSRCS_MAX
from mediaserver.model import Direction
from mediaserver.model_video import Content
from mediaserver.sdp.choose import PeerMedia
from mediaserver.sdp.description import Attribute, Media
from mediaserver.sdp.extensions import read_extensions
from mediaserver.sdp.video import DescribedFormat, read_video_formats

_RID = re.compile(r"[A-Za-z0-9_-]{1,16}")  # what the RID extension's one-byte form carries; RFC 8851 allows longer ones
_DRAFT = "rid="
_SSRC = re.compile(r"[0-9]{1,10}")
_BANDWIDTH = re.compile(r"b=(TIAS|AS):([0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class PeerVideo:
    """A video section that is switched on. index: its place among the m= lines.

    content: None: not said. rids: simulcast streams the peer sends, in its order. ssrcs: (media, RTX or None).
    transport: a SIP phone's address and key; None for a bundled section.
    """

    index: int
    mid: str
    protocol: str
    formats: tuple[DescribedFormat, ...]
    direction: Direction  # as the peer wrote it
    content: Content | None = None
    rids: tuple[str, ...] = ()
    draft_simulcast: bool = False  # it writes a=simulcast as Firefox did before RFC 8853: send rid=q;h;f
    ssrcs: tuple[tuple[int, int | None], ...] = ()
    extensions: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    bandwidth_bps_max: int = 0
    rtcp_rsize: bool = False
    mixed_extensions: bool = False  # a=extmap-allow-mixed
    transport: PeerMedia | None = field(repr=False, default=None)


def read_peer_video(
    media: Media, index: int, direction: Direction, *, mid: str = "", transport: PeerMedia | None = None
) -> PeerVideo:
    """Raises ParseError for payload types or extension ids that are none."""
    return PeerVideo(
        index=index,
        mid=mid,
        protocol=media.protocol,
        formats=tuple(read_video_formats(media)),
        direction=direction,
        content=_content(media.first("content")),
        rids=_sent_rids(media),
        draft_simulcast=_DRAFT in (media.first("simulcast") or ""),
        ssrcs=_ssrcs(media),
        extensions=read_extensions(media),
        bandwidth_bps_max=_bandwidth(media.other),
        rtcp_rsize=media.has("rtcp-rsize"),
        mixed_extensions=media.has("extmap-allow-mixed"),
        transport=transport,
    )


def content_attribute(content: Content) -> list[Attribute]:
    """Nothing for the main picture: that is what a section without it is taken for."""
    return [Attribute("content", content.value)] if content is Content.SLIDES else []


def bandwidth_lines(bps: int) -> list[str]:
    """Both forms, RFC 8866 §5.8 and RFC 3890: old phones know the first only. Nothing for 0."""
    return [f"b=AS:{max(1, bps // 1_000)}", f"b=TIAS:{bps}"] if bps else []


def _content(text: str | None) -> Content | None:
    if text is None:
        return None
    return Content.SLIDES if "slides" in text.lower().split(",") else Content.MAIN


def _bandwidth(lines: Iterable[str]) -> int:
    found = {match[1]: int(match[2]) for line in lines if (match := _BANDWIDTH.fullmatch(line.replace(" ", "")))}
    return found.get("TIAS") or found.get("AS", 0) * 1_000


def _sent_rids(media: Media) -> tuple[str, ...]:
    """Of each stream the first alternative; a leading ~ (paused now) says nothing about later. One stream: none."""
    described = {words[0] for value in media.all("rid") if (words := value.split())[1:2] == ["send"]}
    words = (media.first("simulcast") or "").split()
    if "send" not in words[::2]:
        return ()
    at = words[::2].index("send") * 2 + 1
    streams = words[at].removeprefix(_DRAFT).split(";") if at < len(words) else []
    names = [stream.split(",")[0].removeprefix("~") for stream in streams[:SDP_SIMULCAST_STREAMS_MAX]]
    usable = [name for name in dict.fromkeys(names) if name in described and _RID.fullmatch(name)]
    return tuple(usable) if len(usable) > 1 else ()


def _ssrcs(media: Media) -> tuple[tuple[int, int | None], ...]:
    """Media streams in the order of their simulcast group, or as written, each with its retransmissions' SSRC."""
    named = [number for value in media.all("ssrc") if (number := _number(value)) is not None]
    groups = [value.split() for value in media.all("ssrc-group")]
    pairs = [[_number(text) for text in group[1:3]] for group in groups if group[:1] == ["FID"] and len(group) == 3]
    repair = {one: other for one, other in pairs if one is not None and other is not None}
    simulcast = [[_number(text) for text in group[1:]] for group in groups if group[:1] == ["SIM"]]
    order = [number for group in simulcast for number in group if number in named]
    order += [number for number in dict.fromkeys(named) if number not in order]
    media_ssrcs = [number for number in dict.fromkeys(order) if number not in repair.values()]
    return tuple((number, repair.get(number)) for number in media_ssrcs[:SDP_SSRCS_MAX] if number is not None)


def _number(value: str) -> int | None:
    text = value.split(" ", 1)[0]
    return int(text) if _SSRC.fullmatch(text) and int(text) < 2**32 else None
