"""FFmpeg's encoders and decoders through PyAV, as live oracles."""

import av
import numpy as np
import numpy.typing as npt


def encode(codec: str, rate_hz: int, pcm: npt.NDArray[np.int16], frame: int = 320) -> bytes:
    context = av.CodecContext.create(codec, "w")
    context.sample_rate, context.layout, context.format = rate_hz, "mono", "s16"
    out = bytearray()
    for at in range(0, len(pcm), frame):
        piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm[at : at + frame]).reshape(1, -1), "s16", "mono")
        piece.sample_rate, piece.pts = rate_hz, at
        for packet in context.encode(piece):
            out += bytes(packet)
    for packet in context.encode(None):
        out += bytes(packet)
    return bytes(out)


def decode(codec: str, rate_hz: int, payload: bytes, size: int = 160) -> npt.NDArray[np.int16]:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = rate_hz, "mono"
    pieces = [
        frame.to_ndarray().reshape(-1)
        for at in range(0, len(payload), size)
        for frame in context.decode(av.Packet(payload[at : at + size]))
    ]
    return np.concatenate(pieces)
