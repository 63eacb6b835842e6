"""The vocabulary that crosses rooms: plain values, no behaviour beyond their own consistency.

Nothing here knows a protocol, a socket or a database. Numbers, SDP, digits and audio are personal data: types that
carry them mask their `repr` (see `Masked`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from mediaserver.model_delivery import UNPROVEN, Delivery, PacketRange
from mediaserver.model_far import RemoteConcealment, RemoteXr

LegHandle = NewType("LegHandle", int)  # generation and index of a leg in a worker; 0 is never valid
BridgeHandle = NewType("BridgeHandle", int)
PromptHandle = NewType("PromptHandle", int)
TapHandle = NewType("TapHandle", int)
PlayId = NewType("PlayId", int)  # one playing of a prompt or tone on one leg


class Masked(str):
    """Personal text (a phone number, a digit string): prints as its length and last two characters only."""

    __slots__ = ()

    def __repr__(self) -> str:
        tail = str(self)[-2:] if len(self) > 4 else ""
        return f"<{len(self)} characters …{tail}>"


class CodecName(enum.StrEnum):
    """RTP encoding names as SDP writes them (RFC 3551, 7587, 3389, 4733)."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    G722 = "G722"
    OPUS = "opus"
    L16 = "L16"
    CN = "CN"
    TELEPHONE_EVENT = "telephone-event"
    RED = "red"  # RFC 2198; fmtp {"blocks": "111/111"}: payload types of what it repeats


NOT_AUDIO = frozenset({CodecName.CN, CodecName.TELEPHONE_EVENT, CodecName.RED})  # formats beside the codec


class Direction(enum.StrEnum):
    """Media direction of a stream as *we* see it (RFC 3264 §5.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (Direction.SENDRECV, Direction.RECVONLY)


class SrtpProfile(enum.StrEnum):
    """SDES crypto suites, RFC 4568 §6.2, RFC 6188, RFC 7714."""

    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
    AES_256_CM_HMAC_SHA1_80 = "AES_256_CM_HMAC_SHA1_80"
    AES_256_CM_HMAC_SHA1_32 = "AES_256_CM_HMAC_SHA1_32"
    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"
    AEAD_AES_256_GCM = "AEAD_AES_256_GCM"


# key bytes, salt bytes of each suite
SRTP_KEY_SALT_BYTES: Mapping[SrtpProfile, tuple[int, int]] = {
    SrtpProfile.AES_CM_128_HMAC_SHA1_80: (16, 14),
    SrtpProfile.AES_CM_128_HMAC_SHA1_32: (16, 14),
    SrtpProfile.AES_256_CM_HMAC_SHA1_80: (32, 14),
    SrtpProfile.AES_256_CM_HMAC_SHA1_32: (32, 14),
    SrtpProfile.AEAD_AES_128_GCM: (16, 12),
    SrtpProfile.AEAD_AES_256_GCM: (32, 12),
}


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """One direction's master key and salt. DTLS-SRTP and SDES both end here."""

    profile: SrtpProfile
    key_and_salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        expected = sum(SRTP_KEY_SALT_BYTES[self.profile])
        if len(self.key_and_salt) != expected:
            raise ValueError(f"{self.profile}: key and salt are {len(self.key_and_salt)} bytes, must be {expected}")


@dataclass(frozen=True, slots=True)
class CodecParams:
    """One payload type both sides agreed on, in one direction."""

    name: CodecName
    payload_type: int  # 0..127, the number on the wire in this direction
    clock_hz: int  # RTP clock: 8000 for G.722 although it samples at 16000 (RFC 3551 §4.5.2)
    channels: int = 1
    fmtp: Mapping[str, str] = field(default_factory=dict)  # lower-cased keys; telephone-event: {"events": "0-16"}


@dataclass(frozen=True, slots=True)
class MediaAddress:
    host: str  # IPv4 or IPv6 literal
    port: int
    via: int = 0  # 0: UDP; else the engine's number of the TCP connection whose other end this is


@dataclass(frozen=True, slots=True)
class LevelExtension:
    """RFC 6464: the level in each packet. number: RFC 8285 id, 1..255. sends: we write it; receives: we read it."""

    number: int
    sends: bool
    receives: bool
    vad: bool  # its V bit means something


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Everything the media plane must know of one negotiated audio stream; replaces the former one whole.

    remote: where SDP says to send; symmetric RTP may latch to another source of the same call (see MediaEngine).
    None: not known yet (late offer), send nothing.
    send, receive: codecs by payload type; the first of `send` that is not CN/telephone-event is what we encode.
    ptime_ms: packet time we send, 10..60, the peer's a=ptime. What we receive may differ and may change.
    """

    send: tuple[CodecParams, ...]
    receive: tuple[CodecParams, ...]
    remote: MediaAddress | None
    remote_rtcp: MediaAddress | None = None  # None: remote port + 1, or the RTP port if rtcp_mux
    rtcp_mux: bool = False
    direction: Direction = Direction.SENDRECV
    ptime_ms: int = 20
    xr_blocks: int = 0  # RTCP XR the peer asked for: 1 reference time, 2 summary, 4 VoIP metrics, 8 concealment
    send_key: SrtpKey | None = None  # both None: plain RTP; both set: SRTP. Never one of them
    receive_key: SrtpKey | None = None
    cname: str = ""
    remote_proven: bool = False  # by ICE: media is taken from `remote` only, and from the first packet on
    signalling_host: str = ""  # literal; media of another host than this and `remote` is a stranger's. "": of nobody's
    level: LevelExtension | None = None
    ssrc_fixed: bool = False  # SDP may have announced ours: it is kept whatever the peer uses (RFC 3550 §8.2, RFC 5576)

    @property
    def audio(self) -> CodecParams:
        """The codec we encode with."""
        return next(c for c in self.send if c.name not in NOT_AUDIO)


class DtmfSource(enum.StrEnum):
    RTP_EVENT = "rfc4733"
    SIP_INFO = "info"
    IN_BAND = "inband"


@dataclass(frozen=True, slots=True)
class DtmfDigit:
    """One press of one key, whatever ways it came by. repr never shows the digit."""

    leg: LegHandle
    digit: str = field(repr=False)  # one of 0-9 * # A-D
    duration_ms: int = 0
    source: DtmfSource = DtmfSource.RTP_EVENT


@dataclass(frozen=True, slots=True)
class PlayFinished:
    leg: LegHandle
    play_id: PlayId
    completed: bool  # False: stopped, replaced or the leg closed
    sent: PacketRange | None = field(default=None, compare=False)  # None: no packet carried it


@dataclass(frozen=True, slots=True)
class SourceLatched:
    """Symmetric RTP took this source for the leg and pinned it."""

    leg: LegHandle
    address: MediaAddress


@dataclass(frozen=True, slots=True)
class MediaSilent:
    """Nothing valid has arrived for `media.silence_timeout_s`; sent once per silence."""

    leg: LegHandle
    silent: bool  # False: it came back


@dataclass(frozen=True, slots=True)
class TapBehind:
    """The writer did not drain a tap in time and packets were not captured; the recording says so."""

    tap: TapHandle
    packets_lost: int  # on this tap since it opened


@dataclass(frozen=True, slots=True)
class ActiveSpeaker:
    bridge: BridgeHandle
    leg: LegHandle


@dataclass(frozen=True, slots=True)
class LegDatagram:
    """STUN or DTLS that came by a leg's RTP socket, in order of arrival. Whoever sent it has proven nothing."""

    leg: LegHandle
    source: MediaAddress
    data: bytes = field(repr=False)


MediaEvent = DtmfDigit | PlayFinished | SourceLatched | MediaSilent | TapBehind | ActiveSpeaker | LegDatagram


# Why in-band FEC is on or off, by the number in ext/fec.pxd: no report asked for it yet; loss that it mends; it would
# cost more than it gives; RED repeats everything already; losses come in runs; the party or its codec has no use of it.
FEC_REASONS = ("", "loss", "calm", "red", "bursts", "unfit")


@dataclass(frozen=True, slots=True)
class LegStats:
    """Counters of one leg since it opened; monotonic, so an interval is a difference of two snapshots.

    *received* is what the far end sent us, judged after our jitter buffer (or, on a relayed leg, after the same
    buffer run on arrival times alone). *sent/remote* is what the far end's RTCP says of what we sent.
    """

    leg: LegHandle
    at_ns: int
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    packets_expected: int  # by sequence numbers, RFC 3550 A.3
    packets_lost: int  # expected and never arrived (at playout time)
    packets_late: int  # arrived after their playout time: discarded
    packets_duplicate: int
    packets_reordered: int
    packets_stranger: int  # from a source that is not the pinned one: counted, changes nothing
    packets_bad: int  # not RTP, unknown payload type, too short
    packets_auth_failed: int  # SRTP authentication failed or replayed
    packets_overflow: int  # jitter buffer or pool full
    ssrc_changes: int
    frames_played: int  # 20 ms frames asked of the playout
    frames_concealed: int  # of those, filled because a packet was lost or late
    frames_comfort: int  # comfort noise or DTX silence, no loss
    stretched_ns: int  # put in by time stretching
    compressed_ns: int  # and taken out
    loss_events: int  # bursts: runs of consecutive lost or late packets
    loss_event_packets: int  # packets in those runs: mean burst length = loss_event_packets / loss_events
    jitter_ns: int  # RFC 3550 A.8 interarrival jitter
    buffer_delay_ns: int  # present delay of the jitter buffer
    buffer_target_ns: int
    level_dbov: float  # RFC 6464 scale negated: 0 loudest, -127 silence; of the last 20 ms received
    round_trip_ns: int  # from RTCP, 0: not known yet
    remote_loss_fraction: float  # of the last report block about what we send, 0..1; -1: no report yet
    remote_packets_lost: int
    remote_jitter_ns: int
    rtcp_received: int
    rtcp_sent: int
    relayed: bool  # this leg's packets are forwarded without decoding
    codec: CodecName | None  # last received audio codec
    tap_packets: int
    source: MediaAddress | None  # pinned source
    dropouts: int = 0  # holes of 200 ms or more in what was heard of it
    dropout_ns: int = 0  # their length together
    seconds_concealed: int = 0  # seconds with something made up (RFC 7294 §4)
    seconds_severe: int = 0  # of those, with more than a tenth made up
    frames_clipped: int = 0  # decoded frames whose peaks are cut off
    ssrc_collisions: int = 0  # times the peer used our SSRC, and we took another (RFC 3550 §8.2)
    packets_looped: int = 0  # with our SSRC from who had used it before: what we sent comes back
    extensions_bad: int = 0  # header extensions that contradict themselves: passed over (RFC 8285), the sound is played
    remote_xr: RemoteXr | None = None  # the peer's VoIP metrics of what we send; None: it sends none
    remote_concealment: RemoteConcealment | None = None  # what it made up of it; likewise
    hum_hz: int = 0  # mains hum in what it says, 50 or 60; 0: none, or not looked for (`voice.line_check`)
    hum_dbov: int = 0  # of that hum
    echo_ms: int = 0  # what it is sent comes back so much later; 0: it does not, or not looked for
    echo_loss_db: int = 0  # and so much softer
    echo_removed_db: int = (
        0  # what is taken out of it where it is most of what comes (`voice.echo_cancel`); 0: none found
    )
    remote_highest: int = 0  # extended highest sequence number of that block (RFC 3550 §6.4.1)
    remote_reporter: int = 0  # SSRC of who sent it
    remote_reports: int = 0  # how many about what we send
    sent_sequence: int = 0  # extended sequence number of the next packet to it
    unheard_ns: int = (
        0  # it sent nothing, in pauses of a second or more that it did not mark as its own (RFC 3551 §4.1)
    )
    sent_ssrc: int = 0  # of what we send
    received_ssrc: int = 0  # of what it sends; 0: nothing came yet
    cut_ns: int = 0  # of compressed_ns, out of holes in pauses of speech: neither made up nor heard
    packets_recovered: int = 0  # lost, and come with a later packet that repeated them (RFC 2198)
    packets_fec: int = 0  # of those it sent, carried the one before once more (Opus' in-band FEC)
    packets_fec_relayed: int = 0  # the same of those that are relayed to it
    fec_on: bool = False  # what we encode for it carries in-band FEC (Opus)
    fec_reason: str = ""  # why that is so, of FEC_REASONS
    fec_switches: int = 0  # how often it went on or off
    red_levels: int = 0  # earlier payloads that each packet to it carries once more (RFC 2198)
    red_switches: int = 0  # how often that began or ended


@dataclass(frozen=True, slots=True)
class EngineStats:
    at_ns: int
    legs: int
    bridges: int
    taps: int
    packets_received: int
    packets_sent: int
    packets_unroutable: int  # arrived on a leg's socket before it was configured, or not (S)RTP/RTCP
    packets_stranger: int  # these six: as in LegStats, over all legs, closed ones included
    packets_bad: int
    packets_auth_failed: int
    packets_overflow: int
    rtcp_received: int
    rtcp_sent: int
    send_errors: int
    pool_free: int
    pool_size: int
    ticks: int
    ticks_late: int  # a 20 ms tick that started more than 5 ms late
    tick_lateness_ns_max: int
    commands: int
    events_dropped: int
    cpu_ns: int  # CPU time of the worker threads
    circles_refused: int = 0  # descriptions that would have sent our media to our own ports


class Cause(enum.StrEnum):
    """Who or what ended a call; in the call detail record."""

    LOCAL_HANGUP = "local"
    REMOTE_HANGUP = "remote"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    NO_ANSWER = "no_answer"
    NO_ROUTE = "no_route"
    NO_MEDIA = "no_media"
    PROGRAM_ERROR = "program_error"
    SHUTDOWN = "shutdown"
    TRANSPORT = "transport"
    OPERATOR = "operator"  # API or CLI


@dataclass(frozen=True, slots=True)
class ConsentToken:
    """Proof that a leg may be captured now. Only `mediaserver.recording.consent` makes one; no tap opens without.

    evidence_id points at the one piece of stored evidence (which notice, when it ended, for whom).
    """

    call_id: str
    leg: LegHandle
    evidence_id: str
    granted_at_ns: int
    seal: bytes = field(repr=False)  # HMAC by the consent room's process key over the rest; the engine's face checks it
    pictures: bool = False  # it covers camera and screen beside the sound


# --- what the call room tells recording, quality and the store


class NoticeKind(enum.StrEnum):
    CALL = "call"  # a rule says `record = true`: every party hears the notice
    MESSAGE = "message"  # a caller leaves a message: the announcement that asks for it is the notice


@dataclass(frozen=True, slots=True)
class PromptHeard:
    """What the server played to one party: it belongs to that party's channel of a recording."""

    leg: LegHandle
    name: str
    path: str | None  # None: a tone
    started_ns: int
    ended_ns: int
    offset_ms: int = 0  # where in the file it began
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice one party heard to its end: the evidence behind a consent token."""

    leg: LegHandle
    prompt: str  # name of the prompt, e.g. "recording-notice"
    language: str
    path: str  # the file that was played
    started_ns: int
    ended_ns: int
    ended_wall: float
    delivery: Delivery = UNPROVEN


@dataclass(frozen=True, slots=True)
class LegFacts:
    """One leg as the call detail record keeps it. `number` is whom this leg talks to."""

    leg_id: str  # unique inside the call: "1", "2" …
    handle: LegHandle
    role: str  # "caller" | "callee"; a transfer's target is a callee
    number: Masked
    identity: str | None
    sip_call_id: str
    opened_ns: int
    opened_wall: float
    state: str = ""  # "ringing", "talking", "held" …
    codec: str | None = None  # as SDP writes it, e.g. "opus/48000"
    video: str | None = None  # the codec of its own pictures, e.g. "VP8"; None: no video
    screen: str | None = None  # the same of its slides or shared screen
    security: str | None = None  # SRTP profile; None: plain RTP
    local: MediaAddress | None = None
    remote: MediaAddress | None = None
    source: MediaAddress | None = None  # what symmetric RTP latched to
    answered_wall: float | None = None
    ended_wall: float | None = None
    cause: Cause | None = None
    sip_status: int | None = None  # final response when the leg was never answered


@dataclass(frozen=True, slots=True)
class CallFacts:
    """The call detail record; while the call runs, what is known so far."""

    call_id: str
    caller: Masked
    called: Masked
    caller_name: Masked
    identity: str | None  # authenticated user, "trunk:NAME" or None
    route: str | None  # name of the routing rule
    program: str | None
    started_ns: int
    started_wall: float
    answered_ns: int | None = None
    answered_wall: float | None = None
    ended_ns: int | None = None
    ended_wall: float | None = None
    cause: Cause | None = None
    ended_by: str | None = None  # "caller" | "callee" | "server"
    sip_status: int | None = None
    reason: str = ""
    state: str = "new"
    recording_id: str | None = None
    legs: tuple[LegFacts, ...] = ()
