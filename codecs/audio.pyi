from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CODEC_IDS: dict[str, int]  # RTP encoding name -> CodecId of audio.pxd

class Codec:
    """One encoder and one decoder with their state, for offline use and tests; one stream, one thread.

    name: RTP encoding name, any case. rate_hz: PCM rate, 0: the codec's own (Opus serves 8, 12, 16, 24 and 48 kHz).
    clock_hz: RTP clock, 0: the usual one. encoder, decoder: False leaves that side away, its calls then fail.
    Raises ValueError if the combination is not possible.
    """

    name: str
    def __init__(
        self,
        name: str,
        *,
        rate_hz: int = 0,
        clock_hz: int = 0,
        bitrate_bps: int = 0,
        complexity: int = 9,
        fec: bool = False,
        dtx: bool = False,
        packet_loss_percent: int = 0,
        encoder: bool = True,
        decoder: bool = True,
    ) -> None: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def clock_hz(self) -> int: ...
    def encode(self, pcm: npt.NDArray[np.int16]) -> bytes:
        """One frame of mono samples at rate_hz; b"" when DTX has nothing to send. ValueError: no such frame size."""

    def samples(self, payload: bytes | memoryview) -> int:
        """Samples at rate_hz in the payload (0 for CN). Raises ValueError if it is malformed."""

    def decode(self, payload: bytes | memoryview) -> npt.NDArray[np.int16]:
        """Mono samples at rate_hz; empty for CN, whose noise `conceal` makes. Raises ValueError if undecodable."""

    def decode_batch(
        self, payloads: Sequence[bytes | memoryview]
    ) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """All payloads in order: (samples one after another, samples of each payload; 0: it was undecodable)."""

    def conceal(self, samples: int) -> npt.NDArray[np.int16] | None:
        """The codec's own concealment of lost samples (Opus, multiples of 2.5 ms) or noise (CN); None: it has none."""

    def follow(self, pcm: npt.NDArray[np.int16]) -> None:
        """The decoder goes on as though `pcm` without its last 22 samples, which say how it goes on, had been sent.

        Raises ValueError for fewer than 24 samples or an odd number. Codecs whose decoders do not learn ignore it.
        """

    def decode_fec(self, payload: bytes | memoryview, samples: int) -> npt.NDArray[np.int16] | None:
        """The frame *before* payload from its in-band FEC; None: no FEC inside."""

    def silence(self, samples: int) -> bytes | None:
        """A payload of so many samples that decodes to silence whatever came before; None: the codec has none.

        `restart` is due before `encode` is called again after it."""

    def restart(self) -> None:
        """The encoder forgets what it encoded so far."""

    def take_encoder(self, source: Codec) -> None:
        """Goes on encoding where `source` is now. Raises ValueError unless both have the same name and rate."""

    def set_band(self, rate_hz: int) -> None:
        """What is encoded from now on holds nothing beyond half of rate_hz; other codecs than Opus ignore it."""

    def set_loss(self, packet_loss_percent: int) -> None:
        """What FEC is sized for from now on; other codecs ignore it."""
