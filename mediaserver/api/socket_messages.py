"""What a page may say over the JSON WebSocket or a data channel: each message's fields and their bounds.

Owns the schema and nothing of what a message does. docs/api.md lists them for those who write pages.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mediaserver.limits import (
    CHAT_CHARS_MAX,
    PAGE_MESSAGES_BURST_MAX,
    PAGE_MESSAGES_PER_S_MAX,
    PURPOSES_MAX,
    SDP_BYTES_MAX,
    TOKEN_CHARS_MAX,
)
from mediaserver.model_news import ClientStats

Short = Annotated[str, Field(min_length=1, max_length=256)]
Number = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\s<>\"]+$")]
Sdp = Annotated[str, Field(min_length=1, max_length=SDP_BYTES_MAX)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, le=600_000)]
BitsPerSecond = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=2**40)]


class Message(BaseModel):
    """id: given back in the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: Annotated[int, Field(ge=0, le=2**53)] | Annotated[str, Field(max_length=64)] | None = None


class Hello(Message):
    type: Literal["hello"]
    token: Annotated[str, Field(min_length=1, max_length=TOKEN_CHARS_MAX)]


class Renew(Message):
    type: Literal["renew"]


class Register(Message):
    type: Literal["register"]


class Unregister(Message):
    type: Literal["unregister"]


class Call(Message):
    type: Literal["call"]
    to: Number
    sdp: Sdp


class Answer(Message):
    """Of an incoming call, or of a later offer of ours."""

    type: Literal["answer"]
    call: Short
    sdp: Sdp


class Reject(Message):
    """An incoming call, or a later offer of ours."""

    type: Literal["reject"]
    call: Short
    status: Annotated[int, Field(ge=400, le=699)] = 486


class Offer(Message):
    """Hold, resume, another network, more or less media: whatever the page's browser offers anew."""

    type: Literal["offer"]
    call: Short
    sdp: Sdp


class Candidate(Message):
    type: Literal["candidate"]
    call: Short
    candidate: Annotated[str, Field(max_length=1_024, pattern=r"^[^\r\n]*$")] = ""  # "": there are no more
    mid: Annotated[str, Field(max_length=16, pattern=r"^[^\s]*$")] = ""


class Dtmf(Message):
    type: Literal["dtmf"]
    call: Short
    digits: Annotated[str, Field(pattern=r"^[0-9*#A-D]{1,32}$")]


class Transfer(Message):
    type: Literal["transfer"]
    call: Short
    to: Number


class HangUp(Message):
    type: Literal["hang_up"]
    call: Short


class OfLeg(Message):
    """About one leg: `call` as this socket numbers them, or the Call-ID of a SIP leg of the same user."""

    call: Short | None = None
    sip_call_id: Short | None = None

    @model_validator(mode="after")
    def _one(self) -> OfLeg:
        if self.call is not None and self.sip_call_id is not None:
            raise ValueError("name the leg once: call or sip_call_id")
        return self


class Consent(OfLeg):
    type: Literal["consent"]
    agree: bool
    purposes: Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=PURPOSES_MAX)] = []  # []: all


class Record(OfLeg):
    type: Literal["record"]
    action: Literal["start", "stop", "pause", "resume"]


class Chat(OfLeg):
    type: Literal["chat"]
    text: Annotated[str, Field(min_length=1, max_length=CHAT_CHARS_MAX)]


class RoomControl(Message):
    type: Literal["room_control"]
    room: Number
    action: Literal["mute", "unmute", "hide", "show", "kick", "lock", "unlock"]
    participant: Short | None = None  # of lock and unlock: none


class Report(BaseModel):
    """A part of the browser's getStats; see `model_news.ClientStats`."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    rtt_ms: Milliseconds | None = None
    jitter_ms: Milliseconds | None = None
    loss_received: Ratio | None = None
    loss_sent: Ratio | None = None
    concealed: Ratio | None = None
    audio_level: Ratio | None = None
    bitrate_received_bps: BitsPerSecond | None = None
    bitrate_sent_bps: BitsPerSecond | None = None
    available_bps: BitsPerSecond | None = None
    frames_per_second: Annotated[float, Field(ge=0, le=1_000)] | None = None
    width: Annotated[int, Field(ge=0, le=16_384)] | None = None
    height: Annotated[int, Field(ge=0, le=16_384)] | None = None
    freezes: Count | None = None
    network: Literal["bluetooth", "cellular", "ethernet", "none", "wifi", "wimax", "other", "unknown"] | None = None
    candidate: Literal["host", "srflx", "prflx", "relay"] | None = None

    def stats(self) -> ClientStats:
        return ClientStats(**self.model_dump())


class Stats(OfLeg):
    type: Literal["stats"]
    report: Report


Spoken = (
    Hello
    | Renew
    | Register
    | Unregister
    | Call
    | Answer
    | Reject
    | Offer
    | Candidate
    | Dtmf
    | Transfer
    | HangUp
    | Consent
    | Record
    | Chat
    | RoomControl
    | Stats
)
_ADAPTER: TypeAdapter[Spoken] = TypeAdapter(Annotated[Spoken, Field(discriminator="type")])


class Budget:
    """How much one page may say: a burst, and a rate over time."""

    def __init__(self) -> None:
        self._left = float(PAGE_MESSAGES_BURST_MAX)
        self._filled_s: float | None = None

    def take(self, now_s: float) -> bool:
        """One message. False: too many."""
        since_s = now_s - (self._filled_s if self._filled_s is not None else now_s)
        self._left = min(PAGE_MESSAGES_BURST_MAX, self._left + since_s * PAGE_MESSAGES_PER_S_MAX) - 1.0
        self._filled_s = now_s
        return self._left >= 0


class BadMessage(ValueError):
    """The text says which field and what is allowed, never what was sent: it may be a token."""


def read_message(text: str) -> Spoken:
    """Raises BadMessage."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        known = "" if place else "; known types are listed in docs/api.md"
        text = first["msg"] if first["type"] != "union_tag_invalid" else "unknown type"
        raise BadMessage(f"{place or 'message'}: {text}{known}"[:300]) from error
    except (RecursionError, UnicodeError) as error:
        raise BadMessage("message: this is no JSON") from error
