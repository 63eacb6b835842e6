"""What the call room needs and is handed by `app`: signalling, prompts, recording, observers. Protocols only.

The call room imports neither recording nor quality nor the store; they match these shapes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mediaserver.model import (
    CallFacts,
    LegFacts,
    LegHandle,
    LegStats,
    Notice,
    NoticeKind,
    PromptHeard,
    StreamSettings,
    TapBehind,
)
from mediaserver.model_consent import DEFAULT_RULES, Answer, ConsentCase, ConsentRules, ConsentState
from mediaserver.model_news import LegNews
from mediaserver.model_video import MediaTrack, PictureSource, TrackHandle, TrackSettings, TrackStats
from mediaserver.sip.session_events import SessionEvent

if TYPE_CHECKING:
    from mediaserver.calls.picture_choice import PictureChoice
    from mediaserver.calls.room_facts import RoomFacts


class Session(Protocol):
    """One leg's signalling, whatever carries it: `sip.session.InviteSession` or `web_session.WebSession`.

    Their docstrings say what each method does; one that does not fit the state does nothing.
    """

    incoming: bool
    call_id: str  # of the signalling: SIP's Call-ID
    request_uri: str  # what the caller asked for, as a URI
    called_user: str
    caller_user: str
    caller_name: str
    identity: str | None  # authenticated user, "trunk:NAME", or None
    local_host: str  # our address as this peer reaches us
    remote_sdp: bytes | None  # the offer of an incoming one
    rights: frozenset[str] | None  # of the token it came with: publish, subscribe, record, moderate; None: all
    takes_offers: bool  # False: nothing can be offered to it later
    siprec: bool  # a recording session (RFC 7866): its streams are recorded, nobody is talked to
    metadata: bytes | None  # of it, in the first INVITE
    record_aware: bool  # the far end shows its user what a=record says (RFC 7866)
    one_way: bool  # only speaks, or only listens, by its nature: that is no hold
    on_event: Callable[[SessionEvent], None]  # set by the call room at once; told in order, never re-entrantly
    may_refer: Callable[[], bool]  # likewise: whether there is anybody that the far end could send elsewhere

    @property
    def replaces(self) -> object | None:
        """The session, of the same identity, whose place this incoming one is to take (RFC 3891)."""

    @property
    def picture(self) -> PictureChoice | None:
        """What it wants to see of a room; None: it cannot say."""

    @property
    def peer_host(self) -> str:
        """Where it signals from now, an address literal; "": not known, or of no matter."""

    def belongs_to(self, call_id: str) -> None: ...

    def ring(self, status: int = 180, sdp: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None: ...

    def accept(self, sdp: bytes, headers: Sequence[tuple[str, str]] = ()) -> None: ...

    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None: ...

    def cancel(self) -> None: ...

    def send_answer(self, sdp: bytes) -> None: ...

    def reinvite(self, sdp: bytes | Callable[[], bytes] | None, *, optional: bool = False) -> None:
        """optional: a peer that never answers keeps its call."""

    def answer_reoffer(self, sdp: bytes) -> None: ...

    def reject_reoffer(self, status: int) -> None: ...

    def send_info(self, content_type: str, body: bytes) -> None: ...

    def identify(self, user: str, name: str = "") -> None:
        """Whom the far end talks to from now on, where its protocol can say so."""

    def refer(self, target_uri: str, referred_by: str | None = None) -> None: ...

    def notify_refer(self, status: int, reason: str = "") -> None: ...

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None: ...


class VideoPlane(Protocol):
    """The media engine's face for video. Every method raises StaleHandle, QueueFull or another MediaError."""

    async def open_track(self, leg: LegHandle, *, own_ports: bool = False) -> MediaTrack:
        """A video section of the leg; own_ports: with a pair of ports of its own. Raises NoPortFree."""
        ...

    async def set_track(self, track: TrackHandle, settings: TrackSettings) -> None: ...

    async def close_track(self, track: TrackHandle) -> object: ...

    def track_stats(self, track: TrackHandle) -> TrackStats:
        """Of late. Raises MediaError."""
        ...

    async def connect_track(self, sink: TrackHandle, source: TrackHandle | None) -> None:
        """The sink sends what the source receives, from its next key frame on, which is asked for; None: nothing."""

    async def set_track_limits(self, sink: TrackHandle, *, priority: int, rid: str | None = None) -> None:
        """rid: this simulcast stream of its source only; None: the best that fits."""
        ...

    async def request_key_frame(self, track: TrackHandle) -> None: ...


class SipGateway(Protocol):
    """The user agent: who is registered where, and INVITEs of ours."""

    def contacts(self, user: str) -> Sequence[str] | None:
        """Targets of a local user's devices for `invite`. None: no such user; empty: not registered now."""
        ...

    def display_name(self, user: str) -> str:
        """That we have of a local user; "": none."""
        ...

    def local_host_for(self, target: str, trunk: str | None = None) -> str:
        """Our address, as a literal, that this target reaches us by: sockets are bound to it."""
        ...

    def is_browser(self, target: str) -> bool:
        """Whether this device registered over WebSocket: it wants ICE and DTLS-SRTP in our offer."""
        ...

    def invite(
        self,
        target: str,
        *,
        sdp: bytes | None,
        caller_user: str,
        caller_name: str = "",
        called_user: str = "",
        trunk: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Session:
        """Starts a session; its events come later, never inside this call. trunk: its route and credentials apply."""
        ...


class Prompts(Protocol):
    def find(self, name: str, language: str) -> Path:
        """The file of a prompt, in another language if this one lacks it. Raises PromptError."""
        ...


class Recording(Protocol):
    """One recording under way. Nothing of any leg is captured while a joined party has not heard the notice."""

    on_failure: Callable[[str], None] | None  # told the reason, at once, when it cannot go on
    on_state: Callable[[LegHandle, ConsentState], None] | None

    @property
    def recording_id(self) -> str: ...

    @property
    def capturing(self) -> bool: ...

    @property
    def captured(self) -> bool:
        """It has captured at some time."""

    @property
    def paused(self) -> bool: ...

    def states(self) -> dict[LegHandle, ConsentState]: ...

    async def leg_joined(self, leg: LegFacts) -> None:
        """A party that is to hear the notice, perhaps again: it, and whom the policy says, is not captured."""

    def notice_started(self, leg: LegHandle) -> None:
        """From now on that party hears it."""

    async def notice_reported(self, notice: Notice) -> None:
        """A report that covers it came after `notice_finished`: the evidence has it from now on."""

    async def notice_finished(self, notice: Notice) -> ConsentState:
        """That party heard it to its end; capture begins where the policy allows. Returns its state now."""
        ...

    async def stayed(self, leg: LegHandle) -> None:
        """It is still there, so long after the notice as the policy asks for."""

    def purposes(self, leg: LegHandle) -> dict[str, ConsentState]:
        """Its state for each purpose of the policy; none of a party that is not in it."""
        ...

    async def answer(
        self, leg: LegHandle, answer: Answer, how: str, detail: Mapping[str, str], purposes: Sequence[str] = ()
    ) -> ConsentState:
        """It said yes or no, to these purposes or all. Raises LookupError for a party, or a purpose, not in it."""
        ...

    async def prompt_played(self, heard: PromptHeard) -> None:
        """For the channel of the party that heard it."""

    async def pause(self, reason: str) -> None:
        """Nothing of anybody is stored until `resume`."""

    async def resume(self) -> None: ...

    async def send_to(self, leg: LegHandle, where: socket.socket | None) -> None:
        """A copy of what is captured of that party goes there too, while it is captured; None: no more."""

    def named(self, call: CallFacts) -> None:
        """Who called whom is known better now: for the catalogue."""

    def noted(self, leg: LegHandle, values: Mapping[str, Any]) -> None:
        """Something to keep with that party's channel: JSON values."""

    async def leg_left(self, leg: LegHandle) -> None:
        """Called before the leg is closed: its tap is closed and drained."""

    async def end(self) -> None:
        """Idempotent. The recording is complete on disk when this returns."""

    async def samples(self) -> tuple[int, bytes]:
        """After `end`: rate and int16 mono samples of it, to be played."""
        ...


class Recorder(Protocol):
    def rules(self, case: ConsentCase) -> ConsentRules:
        """What the policy that covers this call asks for."""
        ...

    async def begin(self, call: CallFacts, kind: NoticeKind, rules: ConsentRules = DEFAULT_RULES) -> Recording:
        """Raises StorageError: nothing can be recorded, and why."""
        ...

    def tap_behind(self, event: TapBehind) -> None: ...

    def pictures_changed(self, leg: LegHandle, pictures: Sequence[PictureSource]) -> None:
        """All that this party shows from now on."""


class NewsReader(Protocol):
    """Brings news to the people of a call while it runs; must return at once. What it raises is logged."""

    def leg_news(self, call_id: str, leg: LegFacts, news: LegNews) -> None: ...

    def room_changed(self, room: RoomFacts) -> None:
        """Somebody joined, left, was muted or speaks now; without participants: the room is gone."""


class CallObserver(Protocol):
    """Told of every call and leg, in order, on the event loop; must return at once. What it raises is logged."""

    def call_started(self, call: CallFacts) -> None: ...

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        """The leg's first negotiated stream."""

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        """Hold, resume, another codec, address or key."""

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        """Once for every leg that was opened; None: the media plane knew it no longer."""

    def call_ended(self, call: CallFacts) -> None:
        """The call detail record, with all its legs."""
