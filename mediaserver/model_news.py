"""What a party can be told about its own call or room while it runs. Plain values, as in `model`.

They reach the people who use our pages (JSON WebSocket, data channel); telephones have no screen for them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from mediaserver.model import Masked


class RecordingState(enum.StrEnum):
    """ASKING: the party is asked whether it agrees; NOTICE: it is being told; PAUSED: capture rests for now."""

    ASKING = "asking"
    NOTICE = "notice"
    RECORDING = "recording"
    PAUSED = "paused"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RecordingNews:
    """Where recording stands for this party."""

    state: RecordingState
    recording_id: str | None = None


@dataclass(frozen=True, slots=True)
class ChatNews:
    """A written word to everybody in the sender's room or conversation, the sender included."""

    sender: Masked
    text: str = field(repr=False)
    wall: float
    room: str | None = None


@dataclass(frozen=True, slots=True)
class PartyNews:
    """Somebody else is at the other end from now on: the call was transferred."""

    number: Masked
    name: Masked  # as the server knows it


LegNews = RecordingNews | ChatNews | PartyNews


@dataclass(frozen=True, slots=True)
class ClientStats:
    """What a browser's own getStats says of its leg, checked and bounded; None: it did not say.

    Ratios are 0..1, of the time since the report before.
    """

    rtt_ms: float | None = None
    jitter_ms: float | None = None
    loss_received: float | None = None  # of what we sent it
    loss_sent: float | None = None  # of what it sent us, by our RTCP
    concealed: float | None = None  # share of played audio it had to make up
    audio_level: float | None = None  # 0..1 of full scale, its microphone
    bitrate_received_bps: float | None = None
    bitrate_sent_bps: float | None = None
    available_bps: float | None = None  # its own estimate of what it can send
    frames_per_second: float | None = None  # video it shows
    width: int | None = None
    height: int | None = None
    freezes: int | None = None  # since its call began
    network: str | None = None  # "wifi", "cellular", "ethernet" … as the browser calls it
    candidate: str | None = None  # "host", "srflx", "prflx" or "relay"
