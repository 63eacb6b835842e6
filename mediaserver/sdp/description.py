"""Session descriptions as values, RFC 8866. Owns the shape; `parse` reads it, `write` writes it, `negotiate` decides.

Addresses and keys are personal or secret: every `repr` here shows counts and kinds, never attribute values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Attribute(NamedTuple):
    """`a=name` (value None) or `a=name:value`."""

    name: str
    value: str | None = None

    def __repr__(self) -> str:
        return f"a={self.name}" + ("" if self.value is None else ":…")


@dataclass(slots=True)
class Connection:
    """c= line: host is a literal or a name, without TTL or count."""

    family: str  # "IP4" | "IP6"
    host: str = field(repr=False)


@dataclass(slots=True)
class Origin:
    """o= line. session_id and version are decimal up to 64 bit, kept as int for comparison (RFC 3264 §8)."""

    username: str = field(repr=False, default="-")
    session_id: int = 0
    version: int = 0
    family: str = "IP4"
    host: str = field(repr=False, default="0.0.0.0")  # noqa: S104  (a value in a text, nobody binds it)


class Attributes:
    """What session and media level share: ordered a= lines."""

    __slots__ = ()
    attributes: list[Attribute]

    def first(self, name: str) -> str | None:
        """Value of the first `a=name:…`; "" for a bare flag; None when there is none."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute.value or ""
        return None

    def all(self, name: str) -> Iterator[str]:
        """Values of every `a=name:…`, in order."""
        return (a.value or "" for a in self.attributes if a.name == name)

    def has(self, name: str) -> bool:
        return any(a.name == name for a in self.attributes)


@dataclass(slots=True)
class Media(Attributes):
    """One m= section. port 0: rejected or off. formats: as written, for RTP the payload types."""

    kind: str  # "audio", "video", "application", …
    port: int
    protocol: str  # "RTP/AVP", "RTP/SAVP", …
    formats: list[str]
    port_count: int = 1
    connection: Connection | None = None  # None: the session's
    attributes: list[Attribute] = field(repr=False, default_factory=list)
    other: list[str] = field(repr=False, default_factory=list)  # i=, b=, k= and unknown lines, kept as written


@dataclass(slots=True)
class Session(Attributes):
    """A whole description: session level, then its media in order."""

    origin: Origin = field(default_factory=Origin)
    name: str = field(repr=False, default="-")
    connection: Connection | None = None
    attributes: list[Attribute] = field(repr=False, default_factory=list)
    media: list[Media] = field(default_factory=list)
    times: list[str] = field(repr=False, default_factory=lambda: ["0 0"])  # t= and r=, value part of t= only
    other: list[str] = field(repr=False, default_factory=list)

    def connection_of(self, media: Media) -> Connection | None:
        return media.connection or self.connection

    def attribute_of(self, media: Media, name: str) -> str | None:
        """Media level first, else inherited from the session level (RFC 8866 §5.13)."""
        value = media.first(name)
        return self.first(name) if value is None else value
