"""SDES: a=crypto in offers and answers (RFC 4568)."""

from __future__ import annotations

import base64

import pytest

from mediaserver.errors import NegotiationError
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpProfile
from mediaserver.sdp.crypto import SUITES, read_crypto
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.sdp.parse import parse

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"


def inline(suite: SrtpProfile, fill: int = 7) -> str:
    return base64.b64encode(bytes([fill]) * sum(SRTP_KEY_SALT_BYTES[suite])).decode()


def crypto(suite: SrtpProfile, tag: int = 1, fill: int = 7, rest: str = "") -> str:
    return f"a=crypto:{tag} {suite.value} inline:{inline(suite, fill)}{rest}"


def offer(protocol: str, *lines: str) -> bytes:
    return (HEAD + "\r\n".join([f"m=audio 4000 {protocol} 0", *lines]) + "\r\n").encode()


def negotiator(srtp: str = "optional", secure_offer: bool = False) -> Negotiator:
    counter = iter(range(1, 100))
    made = Negotiator(
        MediaPolicy(("PCMU",), srtp),  # type: ignore[arg-type]
        session_id=1,
        random_bytes=lambda size: bytes([next(counter)]) * size,
        secure_offer=secure_offer,
    )
    made.local = LocalMedia("192.0.2.1", 20000, 20001)
    return made


@pytest.mark.parametrize("suite", list(SrtpProfile))
def test_every_suite_is_answered_with_its_tag_and_our_key(suite: SrtpProfile) -> None:
    ours = negotiator()
    ours.read_offer(offer("RTP/SAVP", crypto(suite, tag=5)))
    media = parse(ours.write_answer()).media[0]
    assert media.protocol == "RTP/SAVP"
    assert media.first("crypto") == f"5 {suite.value} inline:{inline(suite, 1)}"
    assert ours.stream is not None
    assert ours.stream.receive_key is not None
    assert ours.stream.send_key is not None
    assert ours.stream.receive_key.key_and_salt[:1] == b"\7"
    assert ours.stream.send_key.key_and_salt[:1] == b"\1"


def test_the_offerers_order_decides_the_suite() -> None:
    ours = negotiator()
    ours.read_offer(
        offer(
            "RTP/SAVP",
            "a=crypto:1 FUTURE_SUITE inline:AAAA",
            crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_32, 2),
            crypto(SrtpProfile.AEAD_AES_256_GCM, 3),
        )
    )
    ours.write_answer()
    assert ours.stream is not None
    assert ours.stream.send_key is not None
    assert ours.stream.send_key.profile is SrtpProfile.AES_CM_128_HMAC_SHA1_32


@pytest.mark.parametrize(
    ("srtp", "protocol", "with_key", "answer"),
    [
        ("off", "RTP/AVP", False, "plain"),
        ("off", "RTP/AVP", True, "plain"),
        ("off", "RTP/SAVP", True, "refused"),
        ("optional", "RTP/AVP", False, "plain"),
        ("optional", "RTP/AVP", True, "secure"),
        ("optional", "RTP/SAVP", True, "secure"),
        ("optional", "RTP/SAVPF", True, "secure"),
        ("optional", "RTP/SAVP", False, "refused"),
        ("required", "RTP/AVP", False, "refused"),
        ("required", "RTP/AVPF", True, "secure"),
        ("required", "RTP/SAVP", True, "secure"),
        ("optional", "UDP/TLS/RTP/SAVPF", True, "refused"),
    ],
)
def test_the_setting_decides_what_an_offer_gets(srtp: str, protocol: str, with_key: bool, answer: str) -> None:
    ours = negotiator(srtp)
    lines = [crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_80)] if with_key else []
    if answer == "refused":
        with pytest.raises(NegotiationError) as caught:
            ours.read_offer(offer(protocol, *lines))
        assert caught.value.status == 488
        return
    ours.read_offer(offer(protocol, *lines))
    media = parse(ours.write_answer()).media[0]
    assert media.protocol == protocol
    assert media.has("crypto") is (answer == "secure")
    assert ours.stream is not None
    assert (ours.stream.send_key is not None) is (answer == "secure")


def test_of_two_sections_the_secure_one_is_taken() -> None:
    ours = negotiator()
    ours.read_offer(offer("RTP/AVP", "m=audio 4002 RTP/SAVP 0", crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_80)))
    assert [m.port for m in parse(ours.write_answer()).media] == [0, 20000]


@pytest.mark.parametrize(
    ("rest", "usable"),
    [
        ("", True),
        ("|2^31", True),
        ("|1048576", True),
        ("|2^48", True),
        ("|2^49", False),
        ("|2^10", False),
        ("|1:4", False),
        ("|2^31|1:4", False),
        (";inline:x|2^31|2:1", False),
        (" WSH=128", True),
        (" KDR=0", True),
        (" KDR=10", False),
        (" UNENCRYPTED_SRTP", False),
        (" UNENCRYPTED_SRTCP", False),
        (" UNAUTHENTICATED_SRTP", False),
        (" FEC_ORDER=FEC_SRTP", True),
        (" FEC_ORDER=SRTP_FEC", False),
        (" -EXTENSION=1", True),
        (" EXTENSION=1", False),
        ("|", False),
        ("|2^", False),
    ],
)
def test_parameters_we_could_not_honour_make_a_line_unusable(rest: str, usable: bool) -> None:
    line = crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_80, rest=rest).removeprefix("a=crypto:")
    assert bool(read_crypto([line])) is usable


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "x AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40,
        "1234567890 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 40,
        "1 AES_CM_128_HMAC_SHA1_80 uri:" + "A" * 40,
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "A" * 36,
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "*" * 40,
        "1 AES_CM_128_HMAC_SHA1_80 inline:" + "Ж" * 40,
        "1 AEAD_AES_256_GCM inline:" + "A" * 40,
    ],
)
def test_malformed_lines_are_passed_over(line: str) -> None:
    assert read_crypto([line]) == []


def test_a_missing_base64_padding_is_forgiven() -> None:
    assert read_crypto([f"1 AEAD_AES_128_GCM inline:{inline(SrtpProfile.AEAD_AES_128_GCM).rstrip('=')}"])


def test_we_offer_all_suites_in_order_and_take_the_answered_one() -> None:
    ours = negotiator()
    media = parse(ours.write_offer()).media[0]
    assert media.protocol == "RTP/AVP"
    assert [value.split()[1] for value in media.all("crypto")] == [suite.value for suite in SUITES]
    stream = ours.read_answer(offer("RTP/AVP", crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_80, tag=4, fill=9)))
    assert stream.send_key is not None
    assert stream.receive_key is not None
    assert stream.send_key.key_and_salt[:1] == b"\4"
    assert stream.receive_key.key_and_salt[:1] == b"\x09"


def test_a_plain_answer_is_taken_when_srtp_is_optional() -> None:
    ours = negotiator()
    ours.write_offer()
    assert ours.read_answer(offer("RTP/AVP")).send_key is None


@pytest.mark.parametrize("line", ["", crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_80, tag=1)])
def test_an_answer_without_one_of_our_keys_is_refused_when_srtp_is_required(line: str) -> None:
    ours = negotiator("required")
    assert parse(ours.write_offer()).media[0].protocol == "RTP/SAVP"
    with pytest.raises(NegotiationError):
        ours.read_answer(offer("RTP/SAVP", *([line] if line else [])))


def test_a_second_try_can_insist_on_savp() -> None:
    assert parse(negotiator(secure_offer=True).write_offer()).media[0].protocol == "RTP/SAVP"


def test_our_key_survives_a_reoffer_either_way() -> None:
    ours = negotiator()
    ours.read_offer(offer("RTP/SAVP", crypto(SrtpProfile.AEAD_AES_128_GCM, tag=2)))
    first = parse(ours.write_answer()).media[0].first("crypto")
    ours.read_offer(offer("RTP/SAVP", crypto(SrtpProfile.AEAD_AES_128_GCM, tag=2, fill=8), "a=sendonly"))
    assert parse(ours.write_answer()).media[0].first("crypto") == first
    assert ours.stream is not None
    assert ours.stream.receive_key is not None
    assert ours.stream.receive_key.key_and_salt[:1] == b"\x08"
    media = parse(ours.write_offer()).media[0]
    assert list(media.all("crypto")) == [first]
    assert media.protocol == "RTP/SAVP"


def test_no_repr_shows_a_key() -> None:
    ours = negotiator()
    line = crypto(SrtpProfile.AES_CM_128_HMAC_SHA1_80)
    ours.read_offer(offer("RTP/SAVP", line))
    ours.write_answer()
    shown = repr(ours.stream) + repr(read_crypto([line.removeprefix("a=crypto:")])) + repr(ours)
    for secret in (inline(SrtpProfile.AES_CM_128_HMAC_SHA1_80), repr(b"\7" * 30), repr(b"\1" * 30)):
        assert secret not in shown
