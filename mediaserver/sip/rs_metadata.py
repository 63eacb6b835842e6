"""Metadata of a recording session, RFC 7865: who speaks on which stream. Reads application/rs-metadata+xml.

Owns the document's meaning and how a later one changes it. Peers send it: a document with a DTD is refused before any
entity exists, and depth, elements and text are bounded (`limits`). Read by local name inside the namespace of the root,
so that the drafts SBCs still speak (`id` for `participant_id`, `send` inside `participant`) are understood as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar
from xml.parsers import expat  # no DTD gets through it, see _no_dtd

from mediaserver.errors import ParseError
from mediaserver.limits import (
    SIPREC_DEPTH_MAX,
    SIPREC_ELEMENTS_MAX,
    SIPREC_METADATA_BYTES_MAX,
    SIPREC_OBJECTS_MAX,
    SIPREC_TEXT_CHARS_MAX,
)

T = TypeVar("T")
TYPES: Final = ("application/rs-metadata+xml", "application/rs-metadata")  # the second is RFC 7866's own spelling
NAMESPACE: Final = "urn:ietf:params:xml:ns:recording"  # ":1" in the RFC, nothing behind it in the drafts
_SEPARATOR: Final = "\n"  # cannot be part of a namespace's name after attribute normalization


@dataclass(frozen=True, slots=True)
class Participant:
    """One party of the recorded call. repr shows neither address nor name."""

    participant_id: str
    aor: str = field(repr=False, default="")
    name: str = field(repr=False, default="")

    @property
    def number(self) -> str:
        """What people know it by: the user of its address, else its name."""
        scheme, _, rest = self.aor.partition(":")
        user = (rest if scheme.lower() in ("sip", "sips", "tel") else self.aor).partition(";")[0].partition("@")[0]
        return user or self.name


@dataclass(frozen=True, slots=True)
class Stream:
    """label: of the m= section it comes by (RFC 4574)."""

    stream_id: str
    label: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    """All that is known now. Everything by its id, in the order it was told."""

    complete: bool = True  # False: only what changed (datamode partial)
    sessions: tuple[str, ...] = ()
    participants: Mapping[str, Participant] = field(default_factory=dict)
    streams: Mapping[str, Stream] = field(default_factory=dict)
    sends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # participant id -> ids of streams it speaks on

    def updated(self, later: Metadata) -> Metadata:
        """RFC 7865 §6.1: a complete document replaces this one, a partial one the objects that it has.

        Raises ParseError when that is more than is kept.
        """
        if later.complete:
            return later
        merged = replace(
            self,
            sessions=tuple(dict.fromkeys((*self.sessions, *later.sessions))),
            participants={**self.participants, **later.participants},
            streams={**self.streams, **later.streams},
            sends={**self.sends, **later.sends},
        )
        if max(map(len, (merged.sessions, merged.participants, merged.streams))) > SIPREC_OBJECTS_MAX:
            raise ParseError(f"metadata of more than {SIPREC_OBJECTS_MAX} objects", 413)
        return merged

    def speakers(self, label: str) -> list[Participant]:
        """Who is heard on the m= section with this label; several on a mixed stream, none when it is not said."""
        here = {stream.stream_id for stream in self.streams.values() if stream.label == label}
        return [
            self.participants[participant]
            for participant, streams in self.sends.items()
            if participant in self.participants and here.intersection(streams)
        ]


def parse(data: bytes) -> Metadata:
    """Raises ParseError: 400 for what is no such document, 413 for one beyond the bounds."""
    if len(data) > SIPREC_METADATA_BYTES_MAX:
        raise ParseError(f"metadata of {len(data)} bytes; at most {SIPREC_METADATA_BYTES_MAX}", 413)
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _no_dtd
    parser.EntityDeclHandler = _no_dtd
    try:
        parser.Parse(data.strip(), True)
    except expat.ExpatError as error:
        raise ParseError(f"metadata is not XML: {expat.errors.messages.get(error.code, 'malformed')}") from None
    except (LookupError, ValueError):  # an encoding that Python does not have
        raise ParseError("metadata in an unknown encoding") from None
    return reader.metadata()


def _no_dtd(*_: object) -> None:
    raise ParseError("metadata with a document type: entities are not taken from peers")


class _Reader:
    """The handlers of one document."""

    def __init__(self) -> None:
        self._namespace: str | None = None
        self._path: list[str] = []  # local names; "" for an element of somebody else's namespace, and all inside it
        self._ids: list[str] = []  # of the objects on the path
        self._elements = 0
        self._text: list[str] = []
        self._chars = 0
        self._complete = True
        self._sessions: dict[str, None] = {}
        self._participants: dict[str, Participant] = {}
        self._streams: dict[str, Stream] = {}
        self._sends: dict[str, dict[str, None]] = {}

    def metadata(self) -> Metadata:
        sends = {participant: tuple(streams) for participant, streams in self._sends.items()}
        return Metadata(self._complete, tuple(self._sessions), self._participants, self._streams, sends)

    # -- expat's

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > SIPREC_ELEMENTS_MAX or len(self._path) >= SIPREC_DEPTH_MAX:
            raise ParseError("metadata with too many elements, or too deep", 413)
        namespace, _, local = tag.rpartition(_SEPARATOR)
        if self._namespace is None:
            if local != "recording" or not namespace.startswith(NAMESPACE):
                raise ParseError("metadata does not begin with a <recording> of RFC 7865")
            self._namespace = namespace
        ours = namespace == self._namespace and (not self._path or bool(self._path[-1]))
        self._path.append(local.lower() if ours else "")
        self._text.clear()
        self._chars = 0
        self._ids.append("")
        begin = _BEGIN.get(self._path[-1])
        if begin is not None:
            begin(self, attributes)

    def text(self, data: str) -> None:
        room = SIPREC_TEXT_CHARS_MAX - self._chars
        if room > 0:  # what is longer is cut: it is a name or an id
            self._text.append(data[:room])
            self._chars += len(data[:room])

    def end(self, tag: str) -> None:
        value = " ".join("".join(self._text).split())
        finish = _END.get(self._path[-1])
        if finish is not None and value:
            finish(self, value)
        self._path.pop()
        self._ids.pop()
        self._text.clear()
        self._chars = 0

    # -- elements

    def _session(self, attributes: dict[str, str]) -> None:
        self._named(_id(attributes, "session_id"), self._sessions, None)

    def _participant(self, attributes: dict[str, str]) -> None:
        key = _id(attributes, "participant_id")
        self._named(key, self._participants, Participant(key))

    def _stream(self, attributes: dict[str, str]) -> None:
        key = _id(attributes, "stream_id")
        self._named(key, self._streams, Stream(key, session_id=_id(attributes, "session_id", "session")))

    def _association(self, attributes: dict[str, str]) -> None:
        key = self._ids[-1] = _id(attributes, "participant_id")
        if key and len(self._sends) < SIPREC_OBJECTS_MAX:
            self._sends[key] = {}  # what it sends now; what it sent before is over

    def _name_id(self, attributes: dict[str, str]) -> None:
        self._set_participant(aor=attributes.get("aor", "").strip()[:SIPREC_TEXT_CHARS_MAX])

    def _aor(self, value: str) -> None:
        self._set_participant(aor=value)

    def _name(self, value: str) -> None:
        self._set_participant(name=value)

    def _send(self, value: str) -> None:
        key = self._object("participantstreamassoc") or self._object("participant")
        streams = self._sends.setdefault(key, {}) if key and len(self._sends) < SIPREC_OBJECTS_MAX else {}
        if len(streams) < SIPREC_OBJECTS_MAX:
            streams[value] = None

    def _label(self, value: str) -> None:
        key = self._object("stream")
        if key:
            self._streams[key] = replace(self._streams[key], label=value)

    def _data_mode(self, value: str) -> None:
        self._complete = value.lower() != "partial"

    # -- inside

    def _named(self, key: str, objects: dict[str, T], value: T) -> None:
        if not key:
            return
        if key not in objects and len(objects) >= SIPREC_OBJECTS_MAX:
            raise ParseError(f"metadata of more than {SIPREC_OBJECTS_MAX} objects", 413)
        self._ids[-1] = key
        objects[key] = value

    def _object(self, name: str) -> str:
        """Id of the innermost element of this name that the current one is in."""
        for local, key in zip(reversed(self._path), reversed(self._ids), strict=True):
            if local == name:
                return key
        return ""

    def _set_participant(self, **values: str) -> None:
        key = self._object("participant")
        if key:
            self._participants[key] = replace(self._participants[key], **values)


def _id(attributes: dict[str, str], *names: str) -> str:
    """The drafts wrote `id`."""
    found = next((attributes[name] for name in (*names, "id") if attributes.get(name)), "")
    return found.strip()[:SIPREC_TEXT_CHARS_MAX]


_BEGIN: Final[dict[str, Callable[[_Reader, dict[str, str]], None]]] = {
    "session": _Reader._session,
    "participant": _Reader._participant,
    "stream": _Reader._stream,
    "participantstreamassoc": _Reader._association,
    "nameid": _Reader._name_id,
}
_END: Final[dict[str, Callable[[_Reader, str], None]]] = {
    "datamode": _Reader._data_mode,
    "aor": _Reader._aor,
    "name": _Reader._name,
    "send": _Reader._send,
    "label": _Reader._label,
}
