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
)
from mediaserver.ext.leg cimport (
    PAYLOAD_AUDIO,
    PAYLOAD_COMFORT,
    PAYLOAD_EVENT,
    PAYLOAD_TYPES_MAX,
    PayloadType,
    Stream,
)
from mediaserver.ext.net cimport address_from_python, address_to_python
from mediaserver.ext.playout cimport Playout, PlayoutConfig, playout_free, playout_new, playout_set_codec
from mediaserver.ext.rtcp cimport CNAME_BYTES_MAX
from mediaserver.ext.srtp cimport SrtpSession, srtp_session_free, srtp_session_new

from mediaserver.errors import MediaError
from mediaserver.model import CodecName, SrtpProfile

CODEC_IDS = {
    CodecName.PCMU: CODEC_PCMU,
    CodecName.PCMA: CODEC_PCMA,
    CodecName.G722: CODEC_G722,
    CodecName.OPUS: CODEC_OPUS,
    CodecName.L16: CODEC_L16,
    CodecName.CN: CODEC_CN,
    CodecName.TELEPHONE_EVENT: CODEC_TELEPHONE_EVENT,
}
CODEC_NAMES = {codec_id: name for name, codec_id in CODEC_IDS.items()}
SUITES = {profile: index for index, profile in enumerate(SrtpProfile)}


cdef int fill_payload(PayloadType* out, codec) except -1:
    if not 0 <= codec.payload_type <= 127:
        raise MediaError(f"payload type {codec.payload_type} of {codec.name} is not 0..127")
    out.codec_id = CODEC_IDS[codec.name]
    out.payload_type = codec.payload_type
    out.clock_hz = codec.clock_hz
    out.channels = codec.channels
    out.kind = PAYLOAD_AUDIO
    if codec.name == CodecName.CN:
        out.kind = PAYLOAD_COMFORT
    elif codec.name == CodecName.TELEPHONE_EVENT:
        out.kind = PAYLOAD_EVENT
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
    s.remote = address_from_python(remote.host, remote.port)
    control = settings.remote_rtcp
    if settings.rtcp_mux:
        s.remote_rtcp = s.remote
    elif control is not None:
        s.remote_rtcp = address_from_python(control.host, control.port)
    elif remote.port < 65535:
        s.remote_rtcp = address_from_python(remote.host, remote.port + 1)
    return 0


cdef Stream* stream_new(settings, const StreamOptions* options) except NULL:
    cdef Stream* s = <Stream*>calloc(1, sizeof(Stream))
    cdef bytes cname = settings.cname.encode()[:CNAME_BYTES_MAX]
    if s is NULL:
        raise MemoryError
    try:
        for codec in settings.receive[:PAYLOAD_TYPES_MAX]:
            fill_payload(&s.receive[s.receive_count], codec)
            s.receive_count += 1
            s.receive_at[codec.payload_type] = s.receive_count
        fill_sending(s, settings)
        fill_addresses(s, settings)
        s.rtcp_mux = settings.rtcp_mux
        s.sends = settings.direction.sends
        s.receives = settings.direction.receives
        s.ptime_ms = settings.ptime_ms
        s.detect_tones = options.inband_dtmf and not any(
            c.name == CodecName.TELEPHONE_EVENT for c in settings.receive
        )
        memcpy(s.cname, <const char*>cname, len(cname))
    except BaseException:
        free(s)
        raise
    return s


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
        memset(&codec_config, 0, sizeof(codec_config))
        codec_config.codec_id = CODEC_IDS[codec.name]
        codec_config.clock_hz = codec.clock_hz
        if playout_set_codec(playout, codec.payload_type, &codec_config) < 0:
            playout_free(playout, NULL)
            raise MediaError(f"{codec.name}/{codec.clock_hz} as payload type {codec.payload_type} cannot be decoded")
    return playout


cdef SrtpSession* session_of(key, bint outbound) except NULL:
    cdef bytes material = key.key_and_salt
    cdef SrtpSession* session = srtp_session_new(SUITES[key.profile], <const unsigned char*>material, len(material), outbound)
    if session is NULL:
        raise MediaError(f"libsrtp2 refused a key for {key.profile}; is it built with AES-GCM?")
    return session


cdef StreamChange* change_new(settings, former, const StreamOptions* options) except NULL:
    cdef StreamChange* change
    if (settings.send_key is None) != (settings.receive_key is None):
        raise MediaError("one direction has an SRTP key and the other has none; set both or neither")
    change = <StreamChange*>calloc(1, sizeof(StreamChange))
    if change is NULL:
        raise MemoryError
    try:
        change.stream = stream_new(settings, options)
        change.remote_changed = former is None or former.remote != settings.remote
        change.replace_playout = former is None or former.receive != settings.receive
        if change.replace_playout:
            change.playout = playout_of(settings, options)
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
    free(change.stream)
    if change.playout is not NULL:
        playout_free(change.playout, NULL)
    srtp_session_free(change.srtp_send)
    srtp_session_free(change.srtp_receive)
    free(change)


cdef void leg_free(Leg* leg) noexcept:
    if leg is NULL:
        return
    free(leg.stream)
    if leg.playout is not NULL:
        playout_free(leg.playout, NULL)
    srtp_session_free(leg.srtp_send)
    srtp_session_free(leg.srtp_receive)
    free(leg)


cdef dict snapshot_to_python(const LegSnapshot* s):
    """The snapshot's fields by name; source as (host, port) or None, codec as CodecName or None."""
    cdef LegSnapshot copy = s[0]
    out = dict(copy)
    out["source"] = address_to_python(&copy.source)
    out["codec"] = CODEC_NAMES.get(out.pop("codec_id"))
    return out
