"""What a peer could speak instead of narrowband, by what its descriptions have said."""

from __future__ import annotations

import pytest

from mediaserver.model import CodecName
from mediaserver.sdp.ability import Ability
from mediaserver.sdp.formats import Encoding, encodings
from mediaserver.sdp.negotiate import Negotiator
from tests.unit.sdp.test_negotiate import lines_of, negotiator, offer

OPUS, G722, PCMU, PCMA = encodings(["opus", "G722", "PCMU", "PCMA"])
ALL = [OPUS, G722, PCMU, PCMA]
PREFER_PCMU = [Encoding(CodecName.PCMU, 8_000)]


def test_what_it_has_offered_it_can_be_asked_for() -> None:
    ability = Ability(ALL)
    ability.offered([PCMU, G722])
    assert ability.wider_than(PCMU) == ability.wider_than(PCMU, sure=True) == (G722,)
    assert ability.wider_than(G722) == ()


def test_an_answer_of_one_codec_says_nothing_of_the_others() -> None:
    ability = Ability(ALL)
    ability.answered([PCMU, OPUS, G722], [PCMU])
    assert ability.wider_than(PCMU) == (OPUS, G722)
    assert ability.wider_than(PCMU, sure=True) == ()


def test_an_answer_of_several_lists_all_it_has() -> None:
    ability = Ability(ALL)
    ability.answered([PCMU, OPUS, G722, PCMA], [PCMU, PCMA])
    assert ability.wider_than(PCMU) == ()
    ability.answered([PCMU, OPUS, G722, PCMA], [PCMU, G722])
    assert ability.wider_than(PCMU, sure=True) == (G722,)


def test_who_chose_narrowband_behind_something_wider_is_not_asked_until_it_offers_anew() -> None:
    ability = Ability(ALL)
    ability.offered([PCMU, OPUS])
    ability.answered([OPUS, PCMU], [PCMU])
    assert ability.wider_than(PCMU) == ()
    ability.offered([PCMU, OPUS])
    assert ability.wider_than(PCMU) == (OPUS,)


@pytest.mark.parametrize("order", [[PCMU, OPUS], [PCMU]])
def test_what_our_order_has_behind_it_is_not_wanted(order: list[Encoding]) -> None:
    ability = Ability(order)
    ability.offered([OPUS, PCMU])
    assert ability.wider_than(PCMU) == ()


def answered_narrow() -> Negotiator:
    ours = negotiator(keep_wideband=False)
    ours.read_offer(
        offer("m=audio 4000 RTP/AVP 0 9 96 101", "a=rtpmap:96 opus/48000/2", "a=rtpmap:101 telephone-event/8000")
    )
    ours.write_answer(prefer=PREFER_PCMU)
    assert ours.stream is not None
    assert ours.stream.audio.name is CodecName.PCMU
    return ours


def test_a_later_offer_begins_with_what_is_preferred_and_hears_old_and_new_from_then_on() -> None:
    ours = answered_narrow()
    assert ours.stream is not None
    assert [codec.payload_type for codec in ours.stream.receive] == [0, 101]
    media = next(line for line in lines_of(ours.write_offer(prefer=[OPUS])) if line.startswith("m=audio"))
    assert media.split()[3:5] == ["96", "9"]
    assert {0, 9, 96, 101} <= {codec.payload_type for codec in ours.stream.receive}
    assert ours.stream.audio.name is CodecName.PCMU


def test_without_a_preference_it_begins_with_the_codec_in_use() -> None:
    media = next(line for line in lines_of(answered_narrow().write_offer()) if line.startswith("m=audio"))
    assert media.split()[3] == "0"


def test_a_refused_offer_changes_nothing_of_what_is_sent() -> None:
    ours = answered_narrow()
    before = ours.stream
    assert before is not None
    ours.write_offer(prefer=[OPUS])
    ours.rollback()
    assert ours.stream is not None
    assert ours.stream.send == before.send
    assert (ours.stream.remote, ours.stream.direction) == (before.remote, before.direction)


def test_a_payload_type_that_the_peer_has_renumbered_is_heard_by_both_numbers() -> None:
    ours = answered_narrow()
    ours.write_offer(prefer=[OPUS])
    ours.read_answer(offer("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"))
    ours.read_offer(offer("m=audio 4000 RTP/AVP 97 0", "a=rtpmap:97 opus/48000/2"))
    ours.write_answer()
    ours.write_offer()
    assert ours.stream is not None
    assert len([codec for codec in ours.stream.receive if codec.name is not CodecName.TELEPHONE_EVENT]) <= 8
