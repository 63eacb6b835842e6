"""Whose pictures a track shows. Owns what the media plane was told of it, and which pairs of tracks can be joined.

Pictures are forwarded, never decoded: both tracks must have agreed on the same codec in the same configuration.
"""

from __future__ import annotations

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.leg_video import Track
from mediaserver.errors import MediaError
from mediaserver.model_video import VideoCodec, VideoFormat
from mediaserver.sdp.h264 import packetization_mode
from mediaserver.sdp.video import same_format

log = structlog.get_logger()


def can_show(sink: Track, source: Track) -> bool:
    """Whether the source's pictures can be shown by the sink as both are agreed now."""
    if not (sink.sends and source.receives) or sink.settings is None or source.settings is None:
        return False
    sent = source.settings.receive[0]  # what it was asked to send first is what it sends
    return any(_takes(taken, sent) for taken in sink.settings.send)


def _takes(taken: VideoFormat, sent: VideoFormat) -> bool:
    if same_format(taken, sent):
        return True
    # Mode 1 takes single NAL unit packets, which are all that mode 0 knows (RFC 6184 §5.4).
    if sent.codec is VideoCodec.H264 is taken.codec and packetization_mode(sent.fmtp) == "0":
        return same_format(VideoFormat(sent.codec, 0, None, {**sent.fmtp, "packetization-mode": "1"}), taken)
    return False


async def show(house: House, sink: Track, source: Track | None) -> None:
    """From now on the sink shows the source's pictures, or nothing. What cannot be joined shows nothing."""
    wanted = source if source is not None and can_show(sink, source) else None
    if wanted is sink.source or house.video is None:
        return
    sink.source = wanted
    try:
        await house.video.connect_track(sink.media.handle, wanted.media.handle if wanted is not None else None)
    except MediaError as error:  # one of the two has just been closed
        log.info("pictures could not be forwarded", error=str(error))
        sink.source = None
