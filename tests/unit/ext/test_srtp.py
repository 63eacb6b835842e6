"""SRTP sessions against the RFCs: every suite byte for byte, replay, rollover, forged packets, too many SSRCs."""

import json
import struct
from pathlib import Path

import pytest

from mediaserver.ext.srtp import SessionForTest
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpProfile
from tests.unit.ext.srtp_reference import derive, gcm_rtp, protect_rtcp, protect_rtp

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "srtp"
OK, FAILED, REPLAYED, REFUSED = range(4)
PROFILES = list(SrtpProfile)
TAG_BYTES = {  # of RTP; 0: AEAD
    SrtpProfile.AES_CM_128_HMAC_SHA1_80: 10,
    SrtpProfile.AES_CM_128_HMAC_SHA1_32: 4,
    SrtpProfile.AES_256_CM_HMAC_SHA1_80: 10,
    SrtpProfile.AES_256_CM_HMAC_SHA1_32: 4,
    SrtpProfile.AEAD_AES_128_GCM: 0,
    SrtpProfile.AEAD_AES_256_GCM: 0,
}


def rtp(sequence: int, ssrc: int = 0xCAFEBABE) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence & 0xFFFF, 160 * sequence, ssrc) + bytes(range(160))


def rtcp(ssrc: int = 0xCAFEBABE) -> bytes:
    return struct.pack(">BBHI", 0x80, 201, 1, ssrc) + struct.pack(">BBHI", 0x81, 202, 2, ssrc) + b"\x01\x02ab"


def key_of(profile: SrtpProfile) -> tuple[bytes, bytes]:
    key_bytes, salt_bytes = SRTP_KEY_SALT_BYTES[profile]
    return bytes(range(key_bytes)), bytes(range(0x40, 0x40 + salt_bytes))


def pair(profile: SrtpProfile) -> tuple[SessionForTest, SessionForTest]:
    material = b"".join(key_of(profile))
    suite = PROFILES.index(profile)
    return SessionForTest(suite, material, True), SessionForTest(suite, material, False)


def test_the_reference_derives_the_keys_of_the_rfcs() -> None:
    for vector in json.loads((VECTORS / "kdf.json").read_text()):
        key, salt = bytes.fromhex(vector["master_key"]), bytes.fromhex(vector["master_salt"])
        if vector["cipher_key"]:
            assert derive(key, salt, 0, len(key)).hex() == vector["cipher_key"]
        assert derive(key, salt, 2, 14).hex() == vector["cipher_salt"]
        assert derive(key, salt, 1, 20).hex() == vector["auth_key"]


def test_the_reference_protects_the_packet_of_rfc_7714() -> None:
    vector = {name: bytes.fromhex(text) for name, text in json.loads((VECTORS / "gcm.json").read_text()).items()}
    assert gcm_rtp(vector["key"], vector["salt"], vector["packet"], 0) == vector["protected"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_suite_protects_as_the_rfc_says_and_takes_it_off_again(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    for sequence in (0xFFFE, 0xFFFF, 0x10000, 0x10001):
        packet = rtp(sequence)
        verdict, sealed = outbound.step(packet, False)
        assert verdict == OK
        assert sealed == protect_rtp(*key_of(profile), packet, sequence >> 16, TAG_BYTES[profile])
        assert inbound.step(sealed, False) == (OK, packet)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_suite_protects_rtcp_as_the_rfc_says(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    for index in (1, 2, 3):
        verdict, sealed = outbound.step(rtcp(), True)
        assert verdict == OK
        assert sealed == protect_rtcp(*key_of(profile), rtcp(), index, TAG_BYTES[profile] == 0)
        assert inbound.step(sealed, True) == (OK, rtcp())


@pytest.mark.parametrize("profile", PROFILES)
def test_one_changed_bit_anywhere_fails(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    sealed = outbound.step(rtp(7), False)[1]
    for at in (1, 5, 9, 12, 100, len(sealed) - 1):
        forged = sealed[:at] + bytes([sealed[at] ^ 0x10]) + sealed[at + 1 :]
        assert inbound.step(forged, False)[0] == FAILED
    assert inbound.step(sealed, False)[0] == OK


@pytest.mark.parametrize("profile", PROFILES)
def test_a_packet_is_taken_once(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    sealed = [outbound.step(rtp(sequence), False)[1] for sequence in range(100, 110)]
    order = [0, 3, 1, 9, 2]
    assert [inbound.step(sealed[i], False)[0] for i in order] == [OK] * 5
    assert [inbound.step(sealed[i], False)[0] for i in order] == [REPLAYED] * 5


@pytest.mark.parametrize("control", [False, True])
def test_what_is_too_short_to_be_protected_fails(control: bool) -> None:
    _, inbound = pair(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    for size in range(0, 20):
        assert inbound.step((b"\x80\xc8" + bytes(20))[:size], control)[0] == FAILED


def test_one_key_brings_sixteen_ssrcs_and_no_more() -> None:
    outbound, inbound = pair(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    verdicts = [inbound.step(outbound.step(rtp(1, ssrc), False)[1], False)[0] for ssrc in range(1, 30)]
    assert verdicts == [OK] * 16 + [REFUSED] * 13
    # Those that are known go on.
    assert inbound.step(outbound.step(rtp(2, 3), False)[1], False)[0] == OK


def test_a_key_of_the_wrong_length_is_refused() -> None:
    for suite in range(6):
        with pytest.raises(ValueError, match="does not take a key of 7 bytes"):
            SessionForTest(suite, bytes(7), True)
    with pytest.raises(ValueError, match="suite 6"):
        SessionForTest(6, bytes(30), True)
