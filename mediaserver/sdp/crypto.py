"""SDES keys in SDP, RFC 4568 (suites of RFC 6188 and 7714): reads, chooses and writes a=crypto. Sees keys, shows none.

Lines we could not honour are passed over as the RFC wants: unknown suites and session parameters, a master key
identifier on the wire, several keys, a lifetime too short for a call.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mediaserver.limits import SDP_CRYPTO_LINES_MAX
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpKey, SrtpProfile
from mediaserver.sdp.description import Attribute

# Our order when we offer: authenticated encryption first, then AES-CM by key length; the short 32 bit tags last.
SUITES: tuple[SrtpProfile, ...] = (
    SrtpProfile.AEAD_AES_256_GCM,
    SrtpProfile.AEAD_AES_128_GCM,
    SrtpProfile.AES_256_CM_HMAC_SHA1_80,
    SrtpProfile.AES_CM_128_HMAC_SHA1_80,
    SrtpProfile.AES_256_CM_HMAC_SHA1_32,
    SrtpProfile.AES_CM_128_HMAC_SHA1_32,
)
# RFC 6188 names its suites this way round; others write the key length behind the mode.
_BY_NAME = {suite.value: suite for suite in SrtpProfile} | {
    "AES_CM_256_HMAC_SHA1_80": SrtpProfile.AES_256_CM_HMAC_SHA1_80,
    "AES_CM_256_HMAC_SHA1_32": SrtpProfile.AES_256_CM_HMAC_SHA1_32,
}
_LIFETIME_PACKETS_MIN = 2**20  # 5.8 hours at 50 packets/s; we do not re-key, so a shorter life would end inside a call
_LIFETIME = re.compile(r"2\^(\d{1,2})|(\d{1,15})")
RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class CryptoLine:
    """One usable a=crypto: its tag, name as written and the key of whoever wrote it."""

    tag: int
    suite_text: str
    key: SrtpKey = field(repr=False)

    def attribute(self) -> Attribute:
        inline = base64.b64encode(self.key.key_and_salt).decode()
        return Attribute("crypto", f"{self.tag} {self.suite_text} inline:{inline}")


def read_crypto(values: Iterable[str]) -> list[CryptoLine]:
    """The a=crypto lines we could use, in the peer's order of preference. Never raises: a bad line is not usable."""
    usable: list[CryptoLine] = []
    for count, value in enumerate(values):
        if count >= SDP_CRYPTO_LINES_MAX:
            break
        line = _read_line(value)
        if line is not None and all(line.tag != other.tag for other in usable):
            usable.append(line)
    return usable


def _read_line(value: str) -> CryptoLine | None:
    parts = value.split()
    if len(parts) < 3 or not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) <= 9):
        return None
    suite = _BY_NAME.get(parts[1].upper())
    if suite is None or not all(_parameter_is_harmless(text) for text in parts[3:]):
        return None
    key = _read_key(suite, parts[2])
    return None if key is None else CryptoLine(int(parts[0]), parts[1], key)


def _parameter_is_harmless(text: str) -> bool:
    """WSH only advises a receiver; `-name` may be ignored by definition (§6.3.7); these two say what holds anyway (no
    derivation anew, FEC before SRTP); all others change what is sent."""
    return text.upper().startswith("WSH=") or text.startswith("-") or text.upper() in ("KDR=0", "FEC_ORDER=FEC_SRTP")


def _read_key(suite: SrtpProfile, text: str) -> SrtpKey | None:
    method, _, info = text.partition(":")
    if method.lower() != "inline" or ";" in info:
        return None
    encoded, *options = info.split("|")
    for option in options:
        lifetime = _LIFETIME.fullmatch(option)
        if lifetime is None:  # `MKI:length`, or nothing known
            return None
        packets = 2 ** int(lifetime[1]) if lifetime[1] else int(lifetime[2])
        if not _LIFETIME_PACKETS_MIN <= packets <= 2**48:
            return None
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return SrtpKey(suite, raw) if len(raw) == sum(SRTP_KEY_SALT_BYTES[suite]) else None


class KeyRing:
    """Our own keys of one stream: made once per suite and kept, so that a re-offer does not restart the cipher."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._keys: dict[SrtpProfile, SrtpKey] = {}

    def key(self, suite: SrtpProfile) -> SrtpKey:
        if suite not in self._keys:
            self._keys[suite] = SrtpKey(suite, self._random_bytes(sum(SRTP_KEY_SALT_BYTES[suite])))
        return self._keys[suite]

    def offer(self, only: CryptoLine | None = None) -> list[CryptoLine]:
        """All suites in our order, or just the line agreed before."""
        if only is not None:
            return [only]
        return [CryptoLine(tag, suite.value, self.key(suite)) for tag, suite in enumerate(SUITES, 1)]
