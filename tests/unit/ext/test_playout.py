"""One party's playout in virtual time: what goes in as packets comes out as sound on a 20 ms grid."""

import numpy as np

from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness

FRAME_NS = 20_000_000
PHASE_NS = 7_000_000  # pulls fall between arrivals


def tone(seconds: float, rate_hz: int = 8000) -> np.ndarray:
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    return (8000 * np.sin(2 * np.pi * 200 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))).astype(np.int16)


def test_without_loss_and_jitter_the_decoded_samples_come_out_unchanged() -> None:
    codec = Codec("PCMU")
    sound = tone(4.0)
    payloads = [codec.encode(sound[i : i + 160]) for i in range(0, len(sound), 160)]
    decoded = np.concatenate([codec.decode(p) for p in payloads])
    h = PlayoutHarness(min_delay_ms=20)
    assert h.set_codec(0, "PCMU")
    out = []
    for n, payload in enumerate(payloads):
        assert h.put(65500 + n, 2**32 - 4000 + 160 * n, payload, arrival_ns=n * FRAME_NS) == "queued"
        out.append(h.pull(n * FRAME_NS + PHASE_NS, 160)[0])
    played = np.concatenate(out)
    assert np.array_equal(played[160:], decoded[:-160])
    assert h.stats["packets_lost"] == h.stats["frames_concealed"] == 0
    h.close()
    assert h.free_count == 512
