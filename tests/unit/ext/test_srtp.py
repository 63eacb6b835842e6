"""SRTP sessions against the RFCs: every suite byte for byte, replay, rollover, forged packets, too many SSRCs."""

import json
import struct
from pathlib import Path

import pytest

from mediaserver.ext.srtp_harness import SessionForTest
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


def test_one_key_brings_128_ssrcs_and_no_more_while_all_are_in_use() -> None:
    outbound, inbound = pair(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    for ssrc in range(1, 129):
        assert inbound.step(outbound.step(rtp(1, ssrc), False)[1], False)[0] == OK
    assert outbound.step(rtp(1, 999), False)[0] == REFUSED
    other, _ = pair(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    assert inbound.step(other.step(rtp(1, 999), False)[1], False)[0] == REFUSED
    assert inbound.step(other.step(rtcp(999), True)[1], True)[0] == REFUSED
    # Those that are known go on.
    assert inbound.step(outbound.step(rtp(2, 3), False)[1], False)[0] == OK


def test_a_full_table_gives_up_only_who_was_not_heard_for_minutes() -> None:
    outbound, inbound = pair(SrtpProfile.AEAD_AES_128_GCM)
    for ssrc in range(1, 129):
        assert inbound.step(outbound.step(rtp(1, ssrc), False)[1], False)[0] == OK
    other, _ = pair(SrtpProfile.AEAD_AES_128_GCM)
    newcomer = other.step(rtp(1, 999), False)[1]
    for sequence in range(2, 65_536 - 126):
        assert inbound.step(outbound.step(rtp(sequence, 128), False)[1], False)[0] == OK
    assert inbound.step(newcomer, False)[0] == REFUSED
    assert inbound.step(outbound.step(rtp(65_536 - 126, 128), False)[1], False)[0] == OK
    assert inbound.step(newcomer, False)[0] == OK
    assert inbound.step(newcomer, False)[0] == REPLAYED
    assert inbound.step(outbound.step(rtp(2, 2), False)[1], False)[0] == OK  # the second oldest is still there


@pytest.mark.parametrize("profile", [SrtpProfile.AES_CM_128_HMAC_SHA1_80, SrtpProfile.AEAD_AES_128_GCM])
def test_a_source_that_gave_up_its_place_comes_back_with_its_counters(profile: SrtpProfile) -> None:
    """RFC 3711 §9.1: else its indexes, and with them its keystream, would be used a second time."""
    outbound, inbound = pair(profile)
    old = [outbound.step(rtp(sequence, 1), False)[1] for sequence in (0xFFFF, 0x10000)]
    told = [outbound.step(rtcp(1), True)[1] for _ in range(2)]
    assert [inbound.step(sealed, False)[0] for sealed in old] == [OK, OK]
    assert [inbound.step(sealed, True)[0] for sealed in told] == [OK, OK]
    for ssrc in range(2, 129):
        assert inbound.step(outbound.step(rtp(1, ssrc), False)[1], False)[0] == OK
    for sequence in range(2, 65_600):
        assert inbound.step(outbound.step(rtp(sequence, 128), False)[1], False)[0] == OK
    for ssrc in (999, 1_000):
        assert inbound.step(outbound.step(rtp(1, ssrc), False)[1], False)[0] == OK
    assert inbound.step(old[0], False)[0] == REPLAYED
    assert inbound.step(told[1], True)[0] == REPLAYED
    sealed = outbound.step(rtp(0x10001, 1), False)[1]
    assert sealed == protect_rtp(*key_of(profile), rtp(0x10001, 1), 1, TAG_BYTES[profile])
    assert inbound.step(sealed, False) == (OK, rtp(0x10001, 1))
    third = outbound.step(rtcp(1), True)[1]
    assert third == protect_rtcp(*key_of(profile), rtcp(1), 3, TAG_BYTES[profile] == 0)
    assert inbound.step(third, True) == (OK, rtcp(1))
    assert inbound.step(old[1], False)[0] == REPLAYED


def test_a_strangers_ssrc_takes_no_place() -> None:
    _, inbound = pair(SrtpProfile.AEAD_AES_128_GCM)
    stranger = SessionForTest(PROFILES.index(SrtpProfile.AEAD_AES_128_GCM), bytes(28), True)
    for ssrc in range(1, 129):
        assert inbound.step(stranger.step(rtp(1, ssrc), False)[1], False)[0] == FAILED
    outbound, _ = pair(SrtpProfile.AEAD_AES_128_GCM)
    assert inbound.step(outbound.step(rtp(1), False)[1], False)[0] == OK


@pytest.mark.parametrize("profile", PROFILES)
def test_a_retransmission_is_the_same_bytes(profile: SrtpProfile) -> None:
    outbound, _ = pair(profile)
    first = [outbound.step(rtp(sequence), False) for sequence in range(0xFFF0, 0x10010)]
    again = [outbound.step(rtp(sequence), False) for sequence in range(0xFFF0, 0x10010)]
    assert again == first
    assert outbound.step(rtp(0x10010), False)[1] == protect_rtp(*key_of(profile), rtp(0x10010), 1, TAG_BYTES[profile])


@pytest.mark.parametrize("profile", PROFILES)
def test_gcm_never_seals_two_packets_with_one_number_whose_extensions_may_differ(profile: SrtpProfile) -> None:
    """RFC 7714 §8.1: two texts, or two headers, under one IV give the authentication key away."""
    outbound, _ = pair(profile)

    def stamped(sequence: int, stamp: int) -> bytes:
        return struct.pack(">BBHIIHHI", 0x90, 96, sequence, 1, 7, 0xBEDE, 1, stamp) + bytes(50)

    gcm = profile in (SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)
    assert [outbound.step(stamped(n, 1), False)[0] for n in (10, 12, 11, 1_500)] == [OK] * 4
    assert [outbound.step(stamped(n, 2), False)[0] for n in (12, 1_500, 10)] == [REPLAYED if gcm else OK] * 3
    assert [outbound.step(stamped(n, 2), False)[0] for n in (1_499, 1_501)] == [OK] * 2


@pytest.mark.parametrize("profile", PROFILES)
def test_header_extensions_and_csrcs_stay_in_the_clear(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    header = struct.pack(">BBHIIIHH", 0x91, 96, 5, 1, 7, 8, 0xBEDE, 1) + b"\x10\xaa\x00\x00"
    verdict, sealed = outbound.step(header + bytes(50), False)
    assert verdict == OK
    assert sealed[: len(header)] == header
    assert sealed[len(header) : len(header) + 50] != bytes(50)
    assert inbound.step(sealed, False) == (OK, header + bytes(50))
    for forged in (header[:18] + b"\x00\xff" + header[20:], header[:16]):
        assert outbound.step(forged, False)[0] == FAILED


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_older_than_the_window_is_a_replay_and_the_window_is_1024(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    sealed = {sequence: outbound.step(rtp(sequence), False)[1] for sequence in range(1, 2_000)}
    assert inbound.step(sealed[500], False)[0] == OK
    assert inbound.step(sealed[1_523], False)[0] == OK
    assert inbound.step(sealed[500], False)[0] == REPLAYED
    assert inbound.step(sealed[499], False)[0] == REPLAYED
    assert inbound.step(sealed[501], False)[0] == OK
    assert [inbound.step(sealed[n], False)[0] for n in (501, 1_522, 1_523, 1_999, 1_000)] == [
        REPLAYED,
        OK,
        REPLAYED,
        OK,
        OK,
    ]


def test_packets_lost_around_the_wrap_of_the_sequence_number_cost_nothing_else() -> None:
    outbound, inbound = pair(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    sealed = [outbound.step(rtp(sequence), False)[1] for sequence in range(0xFF00, 0x10200)]
    order = [0, 10, 300, 255, 256, 200, 511, 400]
    assert [inbound.step(sealed[at], False)[0] for at in order] == [OK] * len(order)


@pytest.mark.parametrize("profile", PROFILES)
def test_control_packets_are_taken_once_and_unencrypted_ones_if_they_are_authentic(profile: SrtpProfile) -> None:
    outbound, inbound = pair(profile)
    sealed = [outbound.step(rtcp(), True)[1] for _ in range(3)]
    assert [inbound.step(sealed[at], True)[0] for at in (1, 0, 2, 1, 0)] == [OK, OK, OK, REPLAYED, REPLAYED]


def test_a_key_of_the_wrong_length_is_refused() -> None:
    for suite in range(6):
        with pytest.raises(ValueError, match="does not take a key of 7 bytes"):
            SessionForTest(suite, bytes(7), True)
    with pytest.raises(ValueError, match="suite 6"):
        SessionForTest(6, bytes(30), True)
