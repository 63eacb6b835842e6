"""The data channel section, RFC 8841 and 8864: SCTP over the leg's DTLS. Owns reading and writing it, knows no SCTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mediaserver.errors import ParseError
from mediaserver.limits import DATA_MESSAGE_BYTES_MAX
from mediaserver.sdp.description import Attribute, Media, Session
from mediaserver.sdp.parse import number_between

PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
SCTP_PORT = 5_000  # ours
_MESSAGE_BYTES_DEFAULT = 65_536  # RFC 8841 §6.1, where a=max-message-size is missing


@dataclass(frozen=True, slots=True)
class PeerData:
    """What a peer's data section says. max_message_size: bytes; 0 in SDP (no limit) is our own limit here."""

    mid: str
    sctp_port: int
    max_message_size: int


def read_data(session: Session, bundled: Sequence[str]) -> tuple[int, PeerData] | None:
    """Index and content of the first usable data section among these mids. Raises ParseError for a bad number."""
    for index, media in enumerate(session.media):
        if media.kind != "application" or media.protocol not in PROTOCOLS or media.formats != ["webrtc-datachannel"]:
            continue
        mid = media.first("mid")
        if mid is None or mid not in bundled or (media.port == 0 and not media.has("bundle-only")):
            continue
        try:
            port = number_between(media.first("sctp-port") or "", 1, 65_535, "sctp-port")
            text = media.first("max-message-size")
            size = _MESSAGE_BYTES_DEFAULT if text is None else number_between(text, 0, 2**32, "max-message-size")
        except ValueError as error:
            raise ParseError(f"SDP m=application: {error}") from None
        return index, PeerData(mid, port, min(size, DATA_MESSAGE_BYTES_MAX) or DATA_MESSAGE_BYTES_MAX)
    return None


def data_section(protocol: str, port: int, transport: Sequence[Attribute]) -> Media:
    attributes = [
        *transport,
        Attribute("sctp-port", str(SCTP_PORT)),
        Attribute("max-message-size", str(DATA_MESSAGE_BYTES_MAX)),
    ]
    return Media("application", port, protocol, ["webrtc-datachannel"], attributes=attributes)
