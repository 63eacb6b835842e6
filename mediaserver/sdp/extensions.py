"""RTP header extensions in SDP, RFC 8285: a=extmap of what the media plane knows. Owns names and numbers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

from mediaserver.errors import ParseError
from mediaserver.model_video import ExtensionIds
from mediaserver.sdp.description import Attribute, Media
from mediaserver.sdp.parse import number_between

URIS: Mapping[str, str] = {
    "urn:ietf:params:rtp-hdrext:sdes:mid": "mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": "rid",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": "repaired_rid",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": "abs_send_time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": "transport_cc",
    "urn:3gpp:video-orientation": "video_orientation",
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension": "dependency_descriptor",
}
# What Chromium 156 gives them by itself. While an offer of its own is open it refuses one of ours with other numbers,
# and cannot take its own back any more: the call has no sound from then on.
_IT_CALLED = {  # it offered sound first, with numbers of its own for that
    "mid": 4,
    "rid": 10,
    "repaired_rid": 11,
    "abs_send_time": 2,
    "transport_cc": 3,
    "video_orientation": 13,
    "dependency_descriptor": 12,
}
_WE_CALLED = _IT_CALLED | {"mid": 9, "transport_cc": 4, "video_orientation": 3}  # our offer of sound named none
_ONE_BYTE_MAX = 14  # ids the one-byte header can carry; a peer that names larger ones does without them
_NAMES = tuple(field.name for field in fields(ExtensionIds))


def read_extensions(media: Media) -> dict[str, tuple[int, str]]:
    """Extension name → (id, direction as its writer sees it: "" for both). Raises ParseError for an id that is none.

    An id or a name that comes twice counts once.
    """
    found: dict[str, tuple[int, str]] = {}
    taken = set()
    for value in media.all("extmap"):
        head, _, rest = value.partition(" ")
        text, _, direction = head.partition("/")
        try:
            number = number_between(text, 1, 4_351, "extension id")  # RFC 8285 §5: up to 255, and 4096..4351 to choose
        except ValueError as error:
            raise ParseError(f"SDP m={media.kind}: {error}") from None
        name = URIS.get(rest.split(" ", 1)[0])
        if name is not None and number <= _ONE_BYTE_MAX and name not in found and number not in taken:
            found[name] = (number, direction)
            taken.add(number)
    return found


def taken_numbers(media: Media) -> set[int]:
    """All ids that the section gives to an extension, those of no use to us too."""
    heads = (value.partition(" ")[0].partition("/")[0] for value in media.all("extmap"))
    return {int(text) for text in heads if text.isascii() and text.isdecimal() and len(text) <= 4}


def usable(described: Mapping[str, tuple[int, str]], *, we_send: bool, we_receive: bool) -> ExtensionIds:
    """What a peer's extensions give in the directions that are used; only what it sends helps where we receive."""
    wanted = {}
    for name, (number, direction) in described.items():
        if (
            direction in ("", "sendrecv")
            or (direction == "sendonly" and we_receive)
            or (direction == "recvonly" and we_send)
        ):
            wanted[name] = number
    return ids_of(wanted)


def ids_of(numbers: Mapping[str, int]) -> ExtensionIds:
    return ExtensionIds(**{name: number for name, number in numbers.items() if name in _NAMES})


def write_answer(described: Mapping[str, tuple[int, str]], *, simulcast: bool) -> list[Attribute]:
    """Our lines for an answer: each extension the offer has, the other way round. simulcast False: without rid."""
    turned = {"sendonly": "/recvonly", "recvonly": "/sendonly"}
    return [
        Attribute("extmap", f"{described[name][0]}{turned.get(described[name][1], '')} {uri}")
        for uri, name in URIS.items()
        if name in described and described[name][1] != "inactive" and (simulcast or "rid" not in name)
    ]


class ExtensionNumbers:
    """The numbers of one transport for our own offers: the peer's where it has named some (RFC 8843 §9.2)."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._foreign: set[int] = set()
        self._defaults: Mapping[str, int] | None = None  # chosen with our first offer of pictures

    def learn_all(self, sound: Media) -> None:
        """The numbers of a peer's section of sound; those of what we do not know are taken. Raises ParseError."""
        self.learn(read_extensions(sound))
        self._foreign |= taken_numbers(sound)

    def learn(self, described: Mapping[str, tuple[int, str]]) -> None:
        for name, (number, _) in described.items():
            self._numbers.setdefault(name, number)

    def offer(self, names: Iterable[str]) -> dict[str, int]:
        if self._defaults is None:
            self._defaults = _IT_CALLED if self._numbers else _WE_CALLED
        for name in names:
            if name not in self._numbers:
                taken = self._foreign.union(self._numbers.values())
                candidates = (self._defaults[name], *range(1, _ONE_BYTE_MAX + 1))
                free = next((number for number in candidates if number not in taken), 0)
                if free:
                    self._numbers[name] = free
        return {name: self._numbers[name] for name in names if name in self._numbers}

    @staticmethod
    def write(numbers: Mapping[str, int]) -> list[Attribute]:
        return [Attribute("extmap", f"{numbers[name]} {uri}") for uri, name in URIS.items() if name in numbers]
