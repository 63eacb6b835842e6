"""What both negotiators are told: what is allowed on a leg, and where its sockets are. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.sdp.choose import SrtpPolicy


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """What we allow on one leg: codec names in order of preference (`media.codecs`), SRTP, packet time we ask for."""

    codecs: tuple[str, ...]
    srtp: SrtpPolicy = "optional"
    ptime_ms: int = 20
    video_codecs: tuple[str, ...] = ()  # `media.video_codecs`; (): every video section is refused
    data: bool = False  # a browser may open data channels
    keep_wideband: bool = True  # what another leg speaks is no reason to speak narrowband (`media.keep_wideband`)
    spirals: bool = False  # a trunk may send a call back to us, with our own address in its description
    media_anywhere: bool = False  # media may come from a host that is neither in SDP nor where the peer signals from
    red: bool = False  # a browser is asked to send each payload once more with the next one (RFC 2198)


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Where this leg's sockets are, as the peer reaches them."""

    host: str  # literal, or a name if the operator announces one
    rtp_port: int
    rtcp_port: int
    ssrc: int = 0  # of the sound we send; 0: not said
