"""`a=extmap` of the client-to-mixer audio level, RFC 6464 §4 and RFC 8285 §5: read, answered, said again in re-offers.

Agreed only where the peer offers it: a device that has never heard of it is not asked. The id is the offerer's, over
all exchanges; of one that may not be used on the wire (4096 and above) or that stands for something else in the same
transport as well, we choose another, or do without.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mediaserver.model import Direction, LevelExtension
from mediaserver.sdp.description import Attribute, Media, Session

URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_ONE_BYTE_MAX = 14
_RESERVED = 15  # in the one-byte form; we use it in neither
_WIRE_MAX = 255
_NUMBER_MAX = 4_351
_TURNED = {"": "", "sendrecv": "", "sendonly": "/recvonly", "recvonly": "/sendonly"}


@dataclass(frozen=True, slots=True)
class PeerLevel:
    """What a peer's description says. sends, receives: as its writer sees it. vad: "on", "off" or "" (which is on)."""

    number: int
    direction: str = ""
    vad: str = ""

    def agreed(self, direction: Direction) -> LevelExtension:
        """direction: what the stream does, as we see it."""
        return LevelExtension(
            self.number,
            sends=direction.sends and self.direction != "sendonly",
            receives=direction.receives and self.direction != "recvonly",
            vad=self.vad != "off",
        )

    def line(self) -> Attribute:
        """Ours, in an answer or a later offer: its id, the other way round."""
        vad = f" vad={self.vad}" if self.vad else ""
        return Attribute("extmap", f"{self.number}{_TURNED[self.direction]} {URI}{vad}")


def level_in_answer(offered: PeerLevel | None, answer: PeerLevel | None) -> PeerLevel | None:
    """What an answer agrees to of what we offered: the same id, and nothing that was not offered."""
    if offered is None or answer is None or offered.number != answer.number:
        return None
    return replace(answer, vad="off") if offered.vad == "off" else answer


def read_level(session: Session, media: Media) -> PeerLevel | None:
    """None: it does not offer it, switches it off, or gives it an id that we cannot use."""
    values = [*media.all("extmap"), *session.all("extmap")]  # the media level wins
    found = next((level for level in map(_parse, values) if level is not None), None)
    if found is None or found.direction not in _TURNED:
        return None
    taken = {number for number, uri in map(_split, _of_transport(session, media)) if uri != URI}
    if found.number > _WIRE_MAX:
        free = next((number for number in range(1, _ONE_BYTE_MAX + 1) if number not in taken), 0)
        found = replace(found, number=free)
    if found.number == _RESERVED or found.number in taken or not found.number:
        return None
    return found


def _of_transport(session: Session, media: Media) -> Iterable[str]:
    """The extmap lines that share the section's ids: all of its BUNDLE group (RFC 8843 §9.2)."""
    mid = media.first("mid")
    groups = [value.split() for value in session.all("group")]
    group = next((group for group in groups if group[:1] == ["BUNDLE"] and mid in group[1:]), [])
    yield from session.all("extmap")
    for other in session.media:
        if other is media or other.first("mid") in group[1:]:
            yield from other.all("extmap")


def _split(value: str) -> tuple[int, str]:
    head, _, rest = value.partition(" ")
    text = head.partition("/")[0]
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    return number, rest.strip().partition(" ")[0]


def _parse(value: str) -> PeerLevel | None:
    number, uri = _split(value)
    if uri != URI or not 0 < number <= _NUMBER_MAX:
        return None
    words = value.split()[2:]
    vad = next((word.lower()[4:] for word in words if word.lower() in ("vad=on", "vad=off")), "")
    return PeerLevel(number, value.partition(" ")[0].partition("/")[2], vad)
