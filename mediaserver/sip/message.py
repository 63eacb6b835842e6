"""SIP messages as bytes on the wire and as values, RFC 3261 §7 and §25. Tolerant in what it reads, exact in what it writes.

Knows no transaction, no dialog and no socket. Header values are `str` decoded as UTF-8 with surrogateescape, so that
what cannot be decoded survives a round trip byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Headers:
    """Ordered, case-insensitive, compact forms folded to long names. Repeated headers keep their order."""

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None: ...
    def get(self, name: str) -> str | None: ...  # first value, whole line
    def all(self, name: str) -> list[str]: ...  # every line's value, unsplit
    def values(self, name: str) -> list[str]: ...  # every line split at top-level commas (quotes and <> respected)
    def add(self, name: str, value: str) -> None: ...
    def insert_first(self, name: str, value: str) -> None: ...
    def set(self, name: str, value: str) -> None: ...  # replaces all
    def remove(self, name: str) -> None: ...
    def remove_first(self, name: str) -> None: ...
    def items(self) -> Iterator[tuple[str, str]]: ...
    def __contains__(self, name: object) -> bool: ...
    def copy(self) -> Headers: ...


@dataclass(slots=True)
class Message:
    headers: Headers
    body: bytes = b""

    # parsed on demand, raising ParseError: call_id, cseq (number, method), via (list[Via]), from_ / to (NameAddr),
    # contacts (list[NameAddr] or "*"), max_forwards, content_type, expires …


@dataclass(slots=True)
class Request(Message):
    method: str = ""
    uri: str = ""  # as written; `sip.uri.parse_uri` understands it


@dataclass(slots=True)
class Response(Message):
    status: int = 0
    reason: str = ""
