"""Every setting: type, default, allowed range. config/mediaserver.toml documents them; a test holds the two together.

Names end in their unit. Read from a TOML file, overridden by the environment (`MEDIASERVER_SECTION__KEY`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr

SHIPPED_CONFIG_DIR = Path(__file__).resolve().parent / "config"  # config/ of a checkout, package data when installed

Port = Annotated[int, Field(ge=0, le=65_535)]  # 0: switched off


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    data_dir: Path = Path("var")
    realm: str = "mediaserver"  # digest realm and our SIP domain name
    language: Literal["en", "ru"] = "en"  # of prompts, where a call does not say
    drain_timeout_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0  # SIGTERM waits so long for running calls


class SipSettings(Section):
    host: str = "0.0.0.0"  # noqa: S104  (a server listens)
    udp_port: Port = 5060
    tcp_port: Port = 5060
    tls_port: Port = 5061
    external_host: str = ""  # address written into Contact and SDP; empty: the local address a peer reaches us by
    domains: list[str] = []  # names we answer for besides realm and our addresses
    certificate: Path | None = None
    private_key: Path | None = None
    min_expires_s: Annotated[int, Field(ge=1)] = 60
    max_expires_s: Annotated[int, Field(ge=60)] = 3_600
    nonce_lifetime_s: Annotated[int, Field(ge=10)] = 300
    ring_timeout_s: Annotated[int, Field(ge=1)] = 60
    requests_per_source_per_s: Annotated[int, Field(ge=1)] = 200  # over it: 503 to new transactions of that source
    failed_auth_per_source_per_min: Annotated[int, Field(ge=1)] = 60  # over it: silence for the rest of the minute
    tcp_idle_timeout_s: Annotated[int, Field(ge=1)] = 600
    max_calls: Annotated[int, Field(ge=1)] = 2_000


class MediaSettings(Section):
    port_range: Annotated[str, Field(pattern=r"^\d{1,5}-\d{1,5}$")] = "20000-29999"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    codecs: list[str] = ["opus", "G722", "PCMU", "PCMA", "L16"]  # in order of preference
    video_codecs: list[str] = ["VP8", "H264", "VP9", "AV1"]  # forwarded as they come; rooms prefer them in this order
    ptime_ms: Annotated[int, Field(ge=10, le=60)] = 20
    srtp: Literal["off", "optional", "required"] = "optional"
    jitter_min_ms: Annotated[int, Field(ge=0, le=500)] = 20
    jitter_max_ms: Annotated[int, Field(ge=40, le=2_000)] = 500
    silence_timeout_s: Annotated[int, Field(ge=1)] = 30
    opus_bitrate_bps: Annotated[int, Field(ge=6_000, le=128_000)] = 32_000
    opus_complexity: Annotated[int, Field(ge=0, le=10)] = 5
    keep_wideband: bool = True  # a narrowband party makes no other one narrow; false: relay instead where one can
    redundant_audio: bool = True  # RFC 2198: browsers repeat each payload with the next packet, we do under loss
    inband_dtmf: bool = True  # listen for tones where the peer offers no telephone-event
    tones: str = "us"  # country of ringback, busy …, ITU E.180
    prompts_dir: Path | None = None  # None: the shipped ones
    realtime: bool = True  # ask for SCHED_FIFO; without the right to it, run on normally and say so


NoiseDb = Annotated[float, Field(ge=0, le=25)]
LoudnessDbov = Annotated[float, Field(ge=-40, le=0)]


class VoiceSettings(Section):
    """What is done to every party's voice before others hear it."""

    high_pass: bool = False
    noise_suppression_db: NoiseDb = 0.0
    loudness_dbov: LoudnessDbov = 0.0
    boost_max_db: Annotated[float, Field(ge=0, le=30)] = 18.0
    line_check: bool = False  # look for hum and echo
    echo_cancel: bool = False


class HttpSettings(Section):
    host: str = "0.0.0.0"  # noqa: S104
    port: Port = 8443
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 8080
    certificate: Path | None = None
    private_key: Path | None = None
    admin_password: SecretStr = SecretStr("")  # empty: the API refuses all
    websocket_origins: list[str] = []  # whose pages may open SIP over WebSocket, besides our own: "https://host[:port]"


class OidcSettings(Section):
    """Signing in to the review page by an OpenID Connect issuer; without one, by password alone."""

    issuer: str = ""  # as its tokens name it, to the letter; empty: none
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")  # empty: a public client, PKCE alone
    public_url: str = ""  # where browsers find us: "https://host[:port]"
    name: str = "the company's account"  # on the page's button
    scopes: list[str] = ["profile"]  # besides openid
    name_claim: str = "preferred_username"  # what a reviewer is called
    role_claim: str = ""  # whose values name roles; empty: only who stands in our own list comes in
    roles: dict[str, Literal["qa", "supervisor", "admin", "auditor", "agent"]] = {}  # value: role; the first that fits
    queues: dict[str, list[str]] = {}  # value: queues; empty: everybody sees all
    clock_skew_s: Annotated[int, Field(ge=0, le=300)] = 30
    ca_file: Path | None = None  # who vouches for its certificate; None: whom the system trusts


class TokenSettings(Section):
    """Bearer tokens of pages, WHIP and WHEP."""

    lifetime_s: Annotated[int, Field(ge=30, le=604_800)] = 3_600  # where nobody says otherwise
    lifetime_s_max: Annotated[int, Field(ge=30, le=604_800)] = 86_400  # nobody gets a longer one
    clock_skew_s: Annotated[int, Field(ge=0, le=300)] = 30
    key_days: Annotated[int, Field(ge=1, le=365)] = 30  # then a new key signs
    session_rights: list[Literal["publish", "subscribe", "record", "moderate"]] = ["publish", "subscribe", "record"]


class WebrtcSettings(Section):
    port: Port = 8444  # UDP and TCP, one for all browsers; worker n has port + n; 0: each leg has ports of its own
    ice: Literal["lite", "full"] = "lite"  # full: we check too, for a server behind NAT
    external_addresses: list[str] = []  # told to browsers before the local one: behind NAT with a port forward
    peer_networks: list[str] = []  # where browsers may be; empty: at every unicast address
    stun_server: str = ""  # "host:port", asked with ice = "full" how the world sees us
    turn_urls: list[str] = []  # handed to browsers: "turn:turn.example:3478?transport=udp"
    turn_secret: SecretStr = SecretStr("")  # shared with the TURN server (coturn: static-auth-secret)
    turn_ttl_s: Annotated[int, Field(ge=60, le=86_400)] = 3_600  # of the credentials handed out


class StoreSettings(Section):
    url: str = ""  # SQLAlchemy async URL; empty: SQLite in data_dir


class RecordingSettings(Section):
    enabled: bool = True
    directory: Path | None = None  # None: data_dir/recordings
    flush_interval_ms: Annotated[int, Field(ge=5, le=1_000)] = 50
    rings: Path | None = None  # a tmpfs that outlives the process; None: /dev/shm, in a container none
    segment_interval_ms: Annotated[int, Field(ge=0, le=10_000)] = 4_000
    fsync_interval_ms: Annotated[int, Field(ge=0, le=60_000)] = 80
    min_free_mb: Annotated[int, Field(ge=0)] = 200
    key_file: Path | None = None  # master keys, base64, one a line; None: data_dir/recording-master.key
    key: SecretStr = SecretStr("")  # the same, from the environment
    key_command: str = ""  # prints the same
    consent_policy: str = "announce-and-stay"  # covers what nothing else does
    consent_profiles: list[str] = []  # files of config/consent (or consent_dir) whose [[match]] tables apply, in order
    consent_dir: Path | None = None  # the operator's own policies; they win over shipped ones of the same name
    start_code: str = ""  # keys one of our users presses; empty: none
    stop_code: str = ""
    pause_code: str = "*1"
    resume_code: str = "*2"
    withdraw_code: str = "*9"  # keys any party presses to withdraw its consent
    pause_max_s: Annotated[int, Field(ge=0, le=3_600)] = 120  # after it a pause ends by itself; 0: never
    beep_interval_s: Annotated[float, Field(ge=0, le=300)] = 0.0  # a tone all hear while recording; 0: none
    beep_frequency_hz: Annotated[float, Field(ge=200, le=3_400)] = 1_400.0
    beep_length_ms: Annotated[int, Field(ge=20, le=2_000)] = 500
    beep_level_dbm: Annotated[float, Field(ge=-60, le=0)] = -20.0


class S3Settings(Section):
    """Where finished recordings move; without a bucket they stay on the disk."""

    bucket: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")] = ""
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s?#@]+)?$", max_length=300)] = ""  # empty: Amazon's
    allow_http: bool = False  # an endpoint without TLS that is not this machine
    virtual_hosted: bool = False  # the bucket's name in the host's, not in the path
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=64)] = "us-east-1"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]*$", max_length=200)] = ""
    access_key_id: str = ""  # empty: from where Amazon's own tools have it
    secret_access_key: SecretStr = SecretStr("")
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0  # of one request
    move_after_s: Annotated[int, Field(ge=0, le=31_536_000)] = 3_600  # after its end; so long it is at hand here
    cache_mb: Annotated[int, Field(ge=1)] = 10_240  # of recordings fetched back


class QualitySettings(Section):
    interval_s: Annotated[float, Field(ge=1, le=60)] = 5.0
    retention_days: Annotated[int, Field(ge=1)] = 90
    hours_retention_days: Annotated[int, Field(ge=1)] = 730
    report_to: Annotated[str, Field(pattern=r"^(sips?:[^\s<>]+)?$", max_length=200)] = ""  # a collector, RFC 6035


class AlertSettings(Section):
    webhook_url: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$", max_length=500)] = ""
    webhook_secret: SecretStr = SecretStr("")
    mos_low: Annotated[float, Field(ge=1, le=4.5)] = 3.6
    window_s: Annotated[float, Field(ge=10, le=3_600)] = 300.0
    intervals_min: Annotated[int, Field(ge=1)] = 20
    one_way_share_max: Annotated[float, Field(ge=0, le=1)] = 0.005
    recording_lag_s: Annotated[float, Field(gt=0)] = 2.0


RecordingEventName = Literal[
    "recording.started",
    "recording.sealed",
    "recording.removed",
    "consent.granted",
    "consent.implied",
    "consent.denied",
    "consent.withdrawn",
    "consent.notice_failed",
]


class EventSettings(Section):
    """What happens to recordings, told to a webhook."""

    webhook_url: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$", max_length=500)] = ""
    webhook_secret: SecretStr = SecretStr("")
    deadline_s: Annotated[float, Field(ge=1, le=604_800)] = 3_600.0  # then an event is news no more
    send: list[RecordingEventName] = list(get_args(RecordingEventName))


class HepSettings(Section):
    host: str = ""
    port: Annotated[int, Field(ge=1, le=65_535)] = 9060
    transport: Literal["udp", "tcp", "tls"] = "udp"
    key: SecretStr = SecretStr("")
    agent_id: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = 2001
    ca_file: Path | None = None
    send: list[Literal["sip", "rtcp", "quality", "log"]] = ["sip", "rtcp", "quality"]


class TraceSettings(Section):
    endpoint: Annotated[str, Field(pattern=r"^$|^https?://")] = ""
    headers: dict[str, SecretStr] = {}
    service_name: str = "mediaserver"
    sample_share: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0


class RoutingSettings(Section):
    file: Path | None = None  # None: config/routing.toml beside the configuration, else the shipped one
    programs_dir: Path | None = None  # the operator's own call programs


class CallsSettings(Section):
    hold_music: bool = True  # the party put on hold hears the prompt hold-music; false: silence
    no_media_timeout_s: Annotated[int, Field(ge=0)] = 60  # a leg, not on hold, silent so long is dead; 0: never
    program_grace_s: Annotated[float, Field(ge=0, le=60)] = 5.0  # for a call program to tidy up after its call ended
    max_duration_s: Annotated[int, Field(ge=0)] = 0  # of one call; 0: no limit
    pickup_groups: list[list[str]] = []  # of user names: who may answer a call that rings at another of them


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal


class TrunkSettings(Section):
    """One PBX or carrier we peer with: [trunks.NAME]."""

    uri: str  # sip:host[:port][;transport=…]
    username: str = ""
    password: SecretStr = SecretStr("")
    register_with_peer: bool = False
    allow_from: list[str] = []  # source addresses or networks whose calls need no digest
    codecs: list[str] = []  # empty: media.codecs
    srtp: Literal["off", "optional", "required"] = "optional"
    media_from: Literal["signalled", "anywhere"] = "signalled"
    siprec_policy: str = ""  # consent policy of the recording sessions it sends; empty: it may send none
    echo_cancel: bool = False  # these five: beside what [voice] says for everybody
    line_check: bool = False
    high_pass: bool = False
    noise_suppression_db: NoiseDb = 0.0
    loudness_dbov: LoudnessDbov = 0.0


class Settings(Section):
    server: ServerSettings = ServerSettings()
    sip: SipSettings = SipSettings()
    media: MediaSettings = MediaSettings()
    voice: VoiceSettings = VoiceSettings()
    http: HttpSettings = HttpSettings()
    oidc: OidcSettings = OidcSettings()
    tokens: TokenSettings = TokenSettings()
    webrtc: WebrtcSettings = WebrtcSettings()
    store: StoreSettings = StoreSettings()
    recording: RecordingSettings = RecordingSettings()
    s3: S3Settings = S3Settings()
    quality: QualitySettings = QualitySettings()
    alerts: AlertSettings = AlertSettings()
    events: EventSettings = EventSettings()
    hep: HepSettings = HepSettings()
    traces: TraceSettings = TraceSettings()
    routing: RoutingSettings = RoutingSettings()
    calls: CallsSettings = CallsSettings()
    log: LogSettings = LogSettings()
    trunks: dict[str, TrunkSettings] = {}
