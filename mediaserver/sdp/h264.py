"""H.264 parameters in SDP, RFC 6184 §8.1 and 8.2.2: which profile a profile-level-id names, and what an answer says.

Owns the comparison of two sides' profiles and the level of an answer. Never looks into a picture.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

_PROFILE_LEVEL_ID = re.compile(r"[0-9A-Fa-f]{6}")


class Profile(enum.StrEnum):
    CONSTRAINED_BASELINE = "constrained baseline"
    BASELINE = "baseline"
    MAIN = "main"
    EXTENDED = "extended"
    CONSTRAINED_HIGH = "constrained high"
    HIGH = "high"
    OTHER = "other"


# RFC 6184 table 5: profile_idc, mask and value of profile-iop, the profile. First match counts.
_PROFILES = (
    (0x42, 0b0100_1111, 0b0100_0000, Profile.CONSTRAINED_BASELINE),
    (0x4D, 0b1000_1111, 0b1000_0000, Profile.CONSTRAINED_BASELINE),
    (0x58, 0b1100_1111, 0b1100_0000, Profile.CONSTRAINED_BASELINE),
    (0x42, 0b0100_1111, 0b0000_0000, Profile.BASELINE),
    (0x58, 0b1100_1111, 0b1000_0000, Profile.BASELINE),
    (0x4D, 0b1010_1111, 0b0000_0000, Profile.MAIN),
    (0x58, 0b1100_1111, 0b0000_0000, Profile.EXTENDED),
    (0x64, 0b1111_1111, 0b0000_1100, Profile.CONSTRAINED_HIGH),
    (0x64, 0b1111_1111, 0b0000_0000, Profile.HIGH),
)


def profile_of(fmtp: Mapping[str, str]) -> Profile | None:
    """None: not said. The RFC infers Baseline then, but phones that say nothing send and take Constrained Baseline."""
    text = fmtp.get("profile-level-id", "")
    if not _PROFILE_LEVEL_ID.fullmatch(text):
        return None
    idc, iop = int(text[:2], 16), int(text[2:4], 16)
    return next((profile for i, mask, value, profile in _PROFILES if i == idc and iop & mask == value), Profile.OTHER)


def packetization_mode(fmtp: Mapping[str, str]) -> str:
    return fmtp.get("packetization-mode", "0")


def same_configuration(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two sides' formats are the same one in offer/answer: packetization mode and profile, whatever level."""
    if packetization_mode(one) != packetization_mode(other):
        return False
    first, second = profile_of(one), profile_of(other)
    if first is None or second is None:
        return {first, second} <= {None, Profile.BASELINE, Profile.CONSTRAINED_BASELINE}
    if Profile.OTHER in (first, second):
        return one["profile-level-id"][:4].lower() == other["profile-level-id"][:4].lower()
    return first is second


def answered_parameters(offered: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """`ours` as an answer to `offered` may say it: the offer's profile, and its level unless both allow asymmetry."""
    answer = dict(ours)
    theirs = offered.get("profile-level-id", "")
    if profile_of(offered) is None or profile_of(ours) is None:
        return answer
    level = answer["profile-level-id"][4:]
    if not (offered.get("level-asymmetry-allowed") == ours.get("level-asymmetry-allowed") == "1"):
        level = min(level, theirs[4:], key=lambda text: int(text, 16))
    answer["profile-level-id"] = theirs[:4] + level
    return answer
