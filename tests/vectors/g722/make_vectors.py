"""Makes the vectors beside it with spandsp (libspandsp2, called by ctypes). Run by hand; see SOURCE.md."""

import ctypes
import ctypes.util
import subprocess
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import soxr

HERE = Path(__file__).resolve().parent
RATE_HZ = 16_000


def speech() -> np.ndarray:
    text = "She had your dark suit in greasy wash water all year."
    with wave.open(
        BytesIO(subprocess.run(["espeak-ng", "--stdout", text], check=True, capture_output=True).stdout)
    ) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64)
        rate_hz = file.getframerate()
    pcm = soxr.resample(pcm, rate_hz, RATE_HZ)[RATE_HZ // 10 :][: RATE_HZ * 6 // 5]
    return np.clip(np.round(pcm * 1.5), -32768, 32767).astype(np.int16)


def loud(seed: int) -> np.ndarray:
    """Full-scale noise, a full-scale square wave and a sweep to 8 kHz: every limit of the codec is reached."""
    rng = np.random.default_rng(seed)
    t = np.arange(RATE_HZ // 5)
    square = np.where((t // 23) % 2, 32767, -32768)
    sweep = 30_000 * np.sin(np.pi * t * t / len(t) / 2)
    return np.concatenate([rng.integers(-32768, 32768, RATE_HZ // 5), square, sweep]).astype(np.int16)


def main() -> None:
    spandsp = ctypes.CDLL(ctypes.util.find_library("spandsp"))
    for name in ("g722_encode_init", "g722_decode_init"):
        getattr(spandsp, name).restype = ctypes.c_void_p

    def encode(pcm: np.ndarray) -> bytes:
        state = ctypes.c_void_p(spandsp.g722_encode_init(None, 64000, 0))
        out = ctypes.create_string_buffer(len(pcm))
        size = spandsp.g722_encode(state, out, pcm.ctypes.data_as(ctypes.c_void_p), len(pcm))
        return out.raw[:size]

    def decode(payload: bytes) -> bytes:
        state = ctypes.c_void_p(spandsp.g722_decode_init(None, 64000, 0))
        out = np.zeros(2 * len(payload), np.int16)
        count = spandsp.g722_decode(state, out.ctypes.data_as(ctypes.c_void_p), payload, len(payload))
        return out[:count].tobytes()

    for name, pcm in (("speech", speech()), ("loud", loud(722))):
        payload = encode(pcm)
        (HERE / f"{name}.s16").write_bytes(pcm.tobytes())
        (HERE / f"{name}.g722").write_bytes(payload)
        (HERE / f"{name}.decoded.s16").write_bytes(decode(payload))
    payload = np.random.default_rng(64).integers(0, 256, 3200, np.uint8).tobytes()
    (HERE / "random.g722").write_bytes(payload)
    (HERE / "random.decoded.s16").write_bytes(decode(payload))


if __name__ == "__main__":
    main()
