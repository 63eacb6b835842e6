"""Negotiated settings into native structs: payload tables, decoders, keys, addresses.

Owns allocation and release of everything a leg carries. Runs on the control side only. What a renegotiation leaves
unchanged is not replaced: a decoder goes on, an SRTP rollover counter is never reset under the same key.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from mediaserver.codecs.audio cimport (
    CODEC_CN,
    CODEC_G722,
    CODEC_L16,
    CODEC_OPUS,
    CODEC_PCMA,
    CODEC_PCMU,
    CODEC_TELEPHONE_EVENT,
    CodecConfig,
)
from mediaserver.ext.digits cimport ToneEar, ear_free, ear_new
from mediaserver.ext.leg cimport (
    PAYLOAD_AUDIO,
    PAYLOAD_COMFORT,
    PAYLOAD_EVENT,
    PAYLOAD_RED,
    PAYLOAD_TYPES_MAX,
    PayloadType,
    Stream,
)
from mediaserver.ext.net cimport address_from_python, address_to_python
from mediaserver.ext.playout cimport Playout, PlayoutConfig, playout_free, playout_new, playout_set_codec
from mediaserver.ext.processing cimport processing_free
from mediaserver.ext.red cimport red_free, red_new
from mediaserver.ext.rtcp cimport CNAME_BYTES_MAX
from mediaserver.ext.srtp cimport SrtpSession, srtp_session_free, srtp_session_new
from mediaserver.ext.video_leg cimport VideoLeg, video_leg_free
from mediaserver.ext.voice cimport Voice, voice_free, voice_new

from mediaserver.errors import MediaError
from mediaserver.model import NOT_AUDIO, CodecName, CodecParams, SrtpProfile

OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)

CODEC_IDS = {
    CodecName.PCMU: CODEC_PCMU,
    CodecName.PCMA: CODEC_PCMA,
    CodecName.G722: CODEC_G722,
    CodecName.OPUS: CODEC_OPUS,
    CodecName.L16: CODEC_L16,
    CodecName.CN: CODEC_CN,
    CodecName.TELEPHONE_EVENT: CODEC_TELEPHONE_EVENT,
}
RED_ID = 255                           # no codec: it wraps one
CODEC_NAMES = {codec_id: name for name, codec_id in CODEC_IDS.items()}
SUITES = {profile: index for index, profile in enumerate(SrtpProfile)}


cdef int fill_payload(PayloadType* out, codec) except -1:
    if not 0 <= codec.payload_type <= 127:
        raise MediaError(f"payload type {codec.payload_type} of {codec.name} is not 0..127")
    out.codec_id = CODEC_IDS.get(codec.name, RED_ID)
    out.payload_type = codec.payload_type
    out.clock_hz = codec.clock_hz
    out.channels = codec.channels
    out.kind = PAYLOAD_AUDIO
    if codec.name == CodecName.CN:
        out.kind = PAYLOAD_COMFORT
    elif codec.name == CodecName.TELEPHONE_EVENT:
        out.kind = PAYLOAD_EVENT
    elif codec.name == CodecName.RED:
        out.kind = PAYLOAD_RED
    return 0


cdef int fill_sending(Stream* s, settings) except -1:
    cdef PayloadType* p
    s.audio_at = -1
    s.event_at = -1
    for codec in settings.send[:PAYLOAD_TYPES_MAX]:
        p = &s.send[s.send_count]
        fill_payload(p, codec)
        if p.kind == PAYLOAD_AUDIO and s.audio_at < 0:
            s.audio_at = s.send_count
        s.send_count += 1
    # Prefer the telephone-event that shares the audio's clock: its timestamps are the stream's (RFC 4733 §2.1).
    for i in range(s.send_count):
        p = &s.send[i]
        if p.kind == PAYLOAD_EVENT and (
            s.event_at < 0 or (s.audio_at >= 0 and p.clock_hz == s.send[s.audio_at].clock_hz)
        ):
            s.event_at = i
    return 0


cdef int fill_addresses(Stream* s, settings) except -1:
    remote = settings.remote
    if remote is None or remote.port == 0:
        return 0
    s.remote = address_from_python(remote.host, remote.port, remote.via)
    control = settings.remote_rtcp
    if settings.rtcp_mux:
        s.remote_rtcp = s.remote
    elif control is not None:
        s.remote_rtcp = address_from_python(control.host, control.port)
    elif remote.port < 65535:
        s.remote_rtcp = address_from_python(remote.host, remote.port + 1)
    return 0


cdef int fill_stream(Stream* s, settings) except -1:
    cdef bytes cname = settings.cname.encode()[:CNAME_BYTES_MAX]
    for codec in settings.receive[:PAYLOAD_TYPES_MAX]:
        fill_payload(&s.receive[s.receive_count], codec)
        s.receive_count += 1
        s.receive_at[codec.payload_type] = s.receive_count
    fill_sending(s, settings)
    fill_addresses(s, settings)
    s.rtcp_mux = settings.rtcp_mux
    s.sends = settings.direction.sends
    s.receives = settings.direction.receives
    s.pin_remote = settings.remote_proven
    if settings.signalling_host:
        s.signalling = address_from_python(settings.signalling_host, 0)
    s.ptime_ms = settings.ptime_ms
    s.xr = settings.xr_blocks
    s.ssrc_fixed = settings.ssrc_fixed
    if settings.level is not None:
        s.level_in = settings.level.number if settings.level.receives else 0
        s.level_out = settings.level.number if settings.level.sends else 0
        s.level_vad = settings.level.vad
    memcpy(s.cname, <const char*>cname, len(cname))
    return 0


cdef Playout* playout_of(settings, const StreamOptions* options) except NULL:
    cdef PlayoutConfig config
    cdef CodecConfig codec_config
    cdef Playout* playout
    memset(&config, 0, sizeof(config))
    config.min_delay_ms = options.jitter_min_ms
    config.max_delay_ms = options.jitter_max_ms
    config.rate_hz = 8000
    playout = playout_new(&config)
    if playout is NULL:
        raise MemoryError
    for codec in settings.receive[:PAYLOAD_TYPES_MAX]:
        if codec.name == CodecName.RED:
            continue
        memset(&codec_config, 0, sizeof(codec_config))
        codec_config.codec_id = CODEC_IDS[codec.name]
        codec_config.clock_hz = codec.clock_hz
        if playout_set_codec(playout, codec.payload_type, &codec_config) < 0:
            playout_free(playout, NULL)
            raise MediaError(f"{codec.name}/{codec.clock_hz} as payload type {codec.payload_type} cannot be decoded")
    return playout


cdef ToneEar* ear_of(settings, const StreamOptions* options) except? NULL:
    """A listener for in-band digits, or NULL: the peer sends telephone-events."""
    cdef ToneEar* ear
    if not options.inband_dtmf or any(c.name == CodecName.TELEPHONE_EVENT for c in settings.receive):
        return NULL
    ear = ear_new()
    if ear is NULL:
        raise MemoryError
    return ear


def opus_rate_hz(fmtp) -> int:
    """The rate we encode at: what the peer will play at the most (RFC 7587 §6.1, maxplaybackrate), else 48 kHz."""
    wanted = fmtp_number(fmtp, "maxplaybackrate", 48000)
    return max([rate for rate in OPUS_RATES_HZ if rate <= wanted], default=8000)


def fmtp_number(fmtp, name, default) -> int:
    text = fmtp.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else default


def decodes(settings) -> dict[int, tuple[CodecName, int]]:
    """Payload type -> what is heard by it."""
    return {c.payload_type: (c.name, c.clock_hz) for c in settings.receive[:PAYLOAD_TYPES_MAX]}


def hears_on(former, settings, bint inband_dtmf) -> bool:
    """Nothing that was heard is given up or means something else now: the playout goes on, with what was added."""
    if former is None or not decodes(former).items() <= decodes(settings).items():
        return False
    has_events = [any(c.name == CodecName.TELEPHONE_EVENT for c in s.receive) for s in (former, settings)]
    return not inband_dtmf or has_events[0] == has_events[1]


def encodes_alike(former, settings) -> bool:
    return former is not None and (voice_codec(former), former.ptime_ms) == (voice_codec(settings), settings.ptime_ms)


def redundancy(settings) -> tuple[int, int] | None:
    """(payload type of RED we may send or -1, of the audio it repeats); None: neither side sends it."""
    audio = voice_codec(settings)
    repeats = f"{audio.payload_type}/" if audio is not None else "none"
    sent = next((c for c in settings.send if c.name == CodecName.RED and c.fmtp.get("blocks", "").startswith(repeats)),
                None)
    if sent is not None:
        return sent.payload_type, audio.payload_type
    return (-1, -1) if any(c.name == CodecName.RED for c in settings.receive) else None


def voice_codec(settings) -> CodecParams | None:
    return next((c for c in settings.send if c.name not in NOT_AUDIO), None)


cdef Voice* voice_of(settings, const StreamOptions* options) except? NULL:
    """The encoder of the first audio codec in send, or NULL: there is none."""
    cdef CodecConfig config
    cdef Voice* voice
    codec = voice_codec(settings)
    if codec is None:
        return NULL
    memset(&config, 0, sizeof(config))
    config.codec_id = CODEC_IDS[codec.name]
    config.clock_hz = codec.clock_hz
    if codec.name == CodecName.OPUS:
        config.rate_hz = opus_rate_hz(codec.fmtp)
        wanted_bps = fmtp_number(codec.fmtp, "maxaveragebitrate", 510000)
        config.bitrate_bps = max(6000, min(options.opus_bitrate_bps, wanted_bps))
        config.complexity = options.opus_complexity
        config.fec = codec.fmtp.get("useinbandfec") == "1"      # made when its reports ask for it (ext/fec)
        config.dtx = codec.fmtp.get("usedtx") == "1"
    voice = voice_new(&config, codec.payload_type, settings.ptime_ms)
    if voice is NULL:
        raise MediaError(f"{codec.name}/{codec.clock_hz} cannot be encoded at a packet time of {settings.ptime_ms} ms")
    return voice


cdef SrtpSession* session_of(key, bint outbound) except NULL:
    cdef bytes material = key.key_and_salt
    cdef SrtpSession* session = srtp_session_new(SUITES[key.profile], <const unsigned char*>material, len(material),
                                                 outbound)
    if session is NULL:
        raise MediaError(f"no SRTP session could be made with a key for {key.profile}: is it of the right length?")
    return session


cdef StreamChange* change_new(settings, former, const StreamOptions* options) except NULL:
    cdef StreamChange* change
    if (settings.send_key is None) != (settings.receive_key is None):
        raise MediaError("one direction has an SRTP key and the other has none; set both or neither")
    change = <StreamChange*>calloc(1, sizeof(StreamChange))
    if change is NULL:
        raise MemoryError
    try:
        fill_stream(&change.stream, settings)
        change.remote_changed = former is None or former.remote != settings.remote
        change.replace_playout = not hears_on(former, settings, options.inband_dtmf)
        if change.replace_playout:
            change.playout = playout_of(settings, options)
            change.ear = ear_of(settings, options)
        change.replace_voice = not encodes_alike(former, settings)
        if change.replace_voice:
            change.voice = voice_of(settings, options)
        wanted = redundancy(settings)
        change.replace_red = former is None or redundancy(former) != wanted
        if change.replace_red and wanted is not None:
            change.red = red_new(wanted[0], wanted[1])
            if change.red is NULL:
                raise MemoryError
        change.replace_keys = former is None or (
            (former.send_key, former.receive_key) != (settings.send_key, settings.receive_key)
        )
        if change.replace_keys and settings.send_key is not None:
            change.srtp_send = session_of(settings.send_key, True)
            change.srtp_receive = session_of(settings.receive_key, False)
    except BaseException:
        change_free(change)
        raise
    return change


cdef void change_free(StreamChange* change) noexcept:
    if change is NULL:
        return
    if change.playout is not NULL:
        playout_free(change.playout, NULL)
    voice_free(change.voice)
    ear_free(change.ear)
    red_free(change.red)
    srtp_session_free(change.srtp_send)
    srtp_session_free(change.srtp_receive)
    free(change)


cdef void leg_free(Leg* leg) noexcept:
    if leg is NULL:
        return
    free(leg.play)
    processing_free(leg.processing)
    if leg.playout is not NULL:
        playout_free(leg.playout, NULL)
    voice_free(leg.voice)
    ear_free(leg.ear)
    red_free(leg.red)
    srtp_session_free(leg.srtp_send)
    srtp_session_free(leg.srtp_receive)
    video_leg_free(<VideoLeg*>leg.video)
    free(leg)


cdef dict snapshot_to_python(const LegSnapshot* s):
    """The snapshot's fields by name; source as (host, port) or None, codec as CodecName or None."""
    cdef LegSnapshot copy = s[0]
    out = dict(copy)
    out["source"] = address_to_python(&copy.source)
    out["codec"] = CODEC_NAMES.get(out.pop("codec_id"))
    return out
