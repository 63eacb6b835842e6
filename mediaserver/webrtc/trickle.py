"""Trickled candidates: an `application/trickle-ice-sdpfrag` body, RFC 8840 §9. Owns its text, not what ICE makes of it.

WHIP and WHEP carry it in PATCH, our pages in a message, SIP in INFO.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mediaserver.errors import ParseError
from mediaserver.limits import ICE_FRAGMENT_BYTES_MAX, ICE_FRAGMENT_LINES_MAX

CONTENT_TYPE = "application/trickle-ice-sdpfrag"
_LINE_END = re.compile(r"\r\n|\n|\r")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_LINE = re.compile(r"[a-z]=.*")


@dataclass(frozen=True, slots=True)
class Fragment:
    """ufrag, password: of the ICE session it belongs to, "" where it does not say.

    sections: mid (None: it names none) and the values of its a=candidate lines, in order.
    """

    ufrag: str = ""
    password: str = field(default="", repr=False)
    sections: tuple[tuple[str | None, tuple[str, ...]], ...] = ()
    end_of_candidates: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Of all sections: with BUNDLE they share one transport."""
        return tuple(candidate for _, candidates in self.sections for candidate in candidates)


def parse_fragment(body: bytes) -> Fragment:
    """Raises ParseError with what was wrong. Unknown lines are passed over."""
    if len(body) > ICE_FRAGMENT_BYTES_MAX:
        raise ParseError(f"a fragment of {len(body)} bytes; at most {ICE_FRAGMENT_BYTES_MAX} are read", 413)
    lines = [line.rstrip() for line in _LINE_END.split(body.decode("utf-8", "replace")) if line.strip()]
    if not lines or len(lines) > ICE_FRAGMENT_LINES_MAX:
        raise ParseError(f"a fragment of {len(lines)} lines; 1 to {ICE_FRAGMENT_LINES_MAX} are read")
    said: dict[str, str] = {}
    sections: list[tuple[str | None, list[str]]] = []
    ended = False
    for number, line in enumerate(lines, 1):
        if not _LINE.fullmatch(line):
            raise ParseError(f"line {number} of the fragment is not of the form <letter>=<value>")
        name, _, value = line[2:].partition(":")
        if line.startswith("m="):
            sections.append((None, []))
        elif not line.startswith("a="):
            continue
        elif name in ("ice-ufrag", "ice-pwd"):
            if said.setdefault(name, value) != value:
                raise ParseError(f"line {number} of the fragment names a second ICE session")
        elif name == "mid" and sections:
            sections[-1] = (value, sections[-1][1])
        elif name == "candidate":
            if not sections:
                sections.append((None, []))
            sections[-1][1].append(value)
        elif name == "end-of-candidates":
            ended = True
    ufrag, password = said.get("ice-ufrag", ""), said.get("ice-pwd", "")
    if (ufrag and not _UFRAG.fullmatch(ufrag)) or (password and not _PASSWORD.fullmatch(password)):
        raise ParseError("a=ice-ufrag has 4 to 256 and a=ice-pwd 22 to 256 of the characters A-Z a-z 0-9 + /")
    if not (ufrag or sections or ended):
        raise ParseError("the fragment has neither candidates nor credentials")
    return Fragment(ufrag, password, tuple((mid, tuple(found)) for mid, found in sections), ended)
