"""What was negotiated of a track as the worker needs it: payload tables, RIDs, extension numbers, room for history.

Owns allocation of what a track carries. Runs on the control side only. An unchanged simulcast keeps its history.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport fence_acquire, load_acquire_32, load_relaxed_32
from mediaserver.ext.video_extensions cimport MID_BYTES_MAX
from mediaserver.ext.video_history cimport history_new
from mediaserver.ext.video_leg cimport BandwidthSnapshot
from mediaserver.ext.video_payload cimport VIDEO_AV1, VIDEO_H264, VIDEO_VP8, VIDEO_VP9
from mediaserver.ext.video_track cimport (
    LAYERS_MAX,
    NO_LAYER,
    VIDEO_FORMATS_MAX,
    TrackSetup,
    VideoFormat,
    track_change_free,
)

from mediaserver.errors import MediaError
from mediaserver.limits import VIDEO_HISTORY_PACKETS, VIDEO_HISTORY_PACKETS_LOW
from mediaserver.model_video import VideoCodec

CODEC_IDS = {
    VideoCodec.VP8: VIDEO_VP8,
    VideoCodec.H264: VIDEO_H264,
    VideoCodec.VP9: VIDEO_VP9,
    VideoCodec.AV1: VIDEO_AV1,
}
CODECS = {codec_id: codec for codec, codec_id in CODEC_IDS.items()}
NO_RTX = 255
BASELINE = 66                              # profile_idc of an H.264 offer that names none (RFC 6184 §8.1)


def number(fmtp, name, default) -> int:
    text = fmtp.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 4 else default


def profile_of(form) -> int:
    """What tells two formats of one codec apart, as one octet."""
    if form.codec == VideoCodec.H264:
        try:
            return int(form.fmtp.get("profile-level-id", "")[:2], 16)
        except ValueError:
            return BASELINE
    if form.codec == VideoCodec.VP9:
        return number(form.fmtp, "profile-id", 0) & 0xFF
    if form.codec == VideoCodec.AV1:
        return number(form.fmtp, "profile", 0) & 0xFF
    return 0


cdef int fill_format(VideoFormat* out, form) except -1:
    for payload_type in (form.payload_type, form.rtx_payload_type):
        if payload_type is not None and not 0 <= payload_type <= 127:
            raise MediaError(f"payload type {payload_type} of {form.codec} is not 0..127")
    out.codec = CODEC_IDS[form.codec]
    out.payload_type = form.payload_type
    out.rtx_payload_type = NO_RTX if form.rtx_payload_type is None else form.rtx_payload_type
    out.mode = 1 if form.fmtp.get("packetization-mode") == "1" else 0
    out.profile = profile_of(form)
    return 0


cdef int fill_formats(TrackSetup* s, settings) except -1:
    for form in settings.receive[:VIDEO_FORMATS_MAX]:
        fill_format(&s.receive[s.receive_count], form)
        s.receive_count += 1
        s.receive_at[form.payload_type] = s.receive_count
        if form.rtx_payload_type is not None:
            s.rtx_at[form.rtx_payload_type] = s.receive_count
    for form in settings.send[:VIDEO_FORMATS_MAX]:
        fill_format(&s.send[s.send_count], form)
        s.send_count += 1
    return 0


cdef int fill_names(TrackSetup* s, settings) except -1:
    cdef bytes name = settings.mid.encode()
    if len(name) <= MID_BYTES_MAX:                 # a longer one is not written into packets; SSRC and type must do
        memcpy(s.mid, <const char*>name, len(name))
        s.mid_size = len(name)
    for rid in settings.rids[:LAYERS_MAX]:
        name = rid.encode()
        if len(name) > MID_BYTES_MAX:
            raise MediaError(f"the RID {rid!r} has {len(name)} bytes; at most {MID_BYTES_MAX} are possible")
        memcpy(s.rids[s.rid_count], <const char*>name, len(name))
        s.rid_sizes[s.rid_count] = len(name)
        s.rid_count += 1
    for ssrc, rtx_ssrc in settings.ssrcs[:LAYERS_MAX]:
        s.ssrcs[s.ssrc_count] = ssrc
        s.rtx_ssrcs[s.ssrc_count] = rtx_ssrc or 0
        s.ssrc_count += 1
    return 0


cdef int fill_extensions(TrackSetup* s, ids) except -1:
    for name in ids.__slots__:
        if not 0 <= getattr(ids, name) <= 14:
            raise MediaError(f"header extension number {getattr(ids, name)} for {name} is not 1..14 (RFC 8285)")
    s.extensions.mid = ids.mid
    s.extensions.rid = ids.rid
    s.extensions.repaired_rid = ids.repaired_rid
    s.extensions.abs_send_time = ids.abs_send_time
    s.extensions.transport_cc = ids.transport_cc
    s.extensions.audio_level = ids.audio_level
    s.extensions.video_orientation = ids.video_orientation
    s.extensions.dependency_descriptor = ids.dependency_descriptor
    return 0


cdef int fill_setup(TrackSetup* s, settings) except -1:
    fill_formats(s, settings)
    fill_names(s, settings)
    fill_extensions(s, settings.extensions)
    s.sends = settings.direction.sends
    s.receives = settings.direction.receives
    s.nack = settings.feedback.nack
    s.pli = settings.feedback.pli
    s.fir = settings.feedback.fir
    s.transport_cc = settings.feedback.transport_cc
    s.remb = settings.feedback.remb
    s.reduced_size = settings.feedback.reduced_size
    s.bandwidth_bps_max = min(settings.bandwidth_bps_max, 0x7FFFFFFF)
    return 0


def streams_of(settings) -> int:
    """How many simulcast streams come; 0: the track does not receive."""
    if settings is None or not settings.direction.receives:
        return 0
    return min(max(len(settings.rids), len(settings.ssrcs), 1), LAYERS_MAX)


cdef TrackChange* track_change_new(settings, former) except NULL:
    cdef TrackChange* change = <TrackChange*>calloc(1, sizeof(TrackChange))
    if change is NULL:
        raise MemoryError
    try:
        fill_setup(&change.setup, settings)
        streams = streams_of(settings)
        change.replace_histories = former is None or (streams, settings.rids) != (streams_of(former), former.rids)
        if change.replace_histories:
            for i in range(streams):
                # The best layer has the most packets in a second.
                size = VIDEO_HISTORY_PACKETS if i == streams - 1 else VIDEO_HISTORY_PACKETS_LOW
                change.histories[i] = history_new(size)
                if change.histories[i] is NULL:
                    raise MemoryError
    except BaseException:
        track_change_free(change)
        raise
    return change


cdef dict track_snapshot_to_python(Track* t):
    cdef TrackSnapshot copy
    cdef uint32_t before
    memset(&copy, 0, sizeof(copy))
    while True:
        before = load_acquire_32(&t.snapshot_sequence)
        copy = t.snapshot
        fence_acquire()
        if not before & 1 and load_relaxed_32(&t.snapshot_sequence) == before:
            break
    out = dict(copy)
    layer = out.pop("layer")
    out["layer"] = None if layer == NO_LAYER else layer
    out["codec"] = CODECS.get(out["codec"])
    return out


cdef dict bandwidth_to_python(VideoLeg* v):
    cdef BandwidthSnapshot copy
    cdef uint32_t before
    memset(&copy, 0, sizeof(copy))
    while v is not NULL:
        before = load_acquire_32(&v.snapshot_sequence)
        copy = v.snapshot
        fence_acquire()
        if not before & 1 and load_relaxed_32(&v.snapshot_sequence) == before:
            break
    return copy
