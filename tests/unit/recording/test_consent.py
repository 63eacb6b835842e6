"""Consent: what can be expressed, what cannot, and the table."""

import dataclasses
import random
from pathlib import Path

import pytest

from mediaserver.errors import ConsentError
from mediaserver.model import ConsentToken, LegHandle, Masked
from mediaserver.model_consent import ConsentRules
from mediaserver.model_consent import ConsentState as State
from mediaserver.model_delivery import Delivery
from mediaserver.recording.consent import (
    PERMITTED,
    PURPOSE,
    TRANSITIONS,
    CallConsent,
    ConsentAuthority,
    Event,
    Evidence,
)

A, B, C = LegHandle(0x100000001), LegHandle(0x100000002), LegHandle(0x100000003)


def evidence(leg: LegHandle, *, ended_ns: int = 20, call_id: str = "c1") -> Evidence:
    return Evidence(f"e{leg}", call_id, leg, "1", Masked("100"), PURPOSE, "announce-and-stay", State.IMPLIED,
                    "recording-notice", "ab" * 32, "en", 10, ended_ns, 1.0)  # fmt: skip


def two_parties() -> tuple[ConsentAuthority, CallConsent]:
    authority = ConsentAuthority()
    consent = authority.open_call("c1")
    consent.join(A)
    consent.join(B)
    return authority, consent


def test_no_token_before_everybody_has_heard_the_notice() -> None:
    _, consent = two_parties()
    with pytest.raises(ConsentError, match="is unknown"):
        consent.token(A, 30)
    consent.delivered(evidence(A))
    assert not any(map(consent.may_capture, (A, B, C)))
    with pytest.raises(ConsentError, match="only with its permission"):
        consent.token(A, 30)
    consent.delivered(evidence(B))
    assert consent.may_capture(A)
    assert consent.may_capture(B)
    assert consent.token(A, 30).evidence_id == f"e{A}"


def test_a_token_is_sealed_over_every_field() -> None:
    authority, consent = two_parties()
    consent.delivered(evidence(A))
    consent.delivered(evidence(B))
    token = consent.token(A, 30)
    assert authority.verify(token)
    for change in ({"leg": B}, {"call_id": "c2"}, {"evidence_id": "e"}, {"granted_at_ns": 29}, {"seal": b"\0" * 32},
                   {"pictures": False}):  # fmt: skip
        assert not authority.verify(dataclasses.replace(token, **change)), change
    assert not ConsentAuthority().verify(token)  # another process, another key
    assert not authority.verify(ConsentToken("c1", A, "e", 30, b""))
    assert token.seal.hex() not in repr(token)


def test_a_token_covers_pictures_where_the_policy_has_them_and_cannot_be_made_to() -> None:
    authority = ConsentAuthority(b"k" * 32)
    for pictures in (True, False):
        consent = authority.open_call("c1", None, ConsentRules("p", pictures=pictures))
        consent.join(A)
        consent.delivered(evidence(A))
        token = consent.token(A, 30)
        assert token.pictures is pictures
        assert authority.verify(token)
        assert not authority.verify(dataclasses.replace(token, pictures=not pictures))


def test_texts_that_join_to_the_same_bytes_are_sealed_apart() -> None:
    authority = ConsentAuthority(b"k" * 32)
    assert authority._sealed("ab", 1, "c", 5) != authority._sealed("a", 1, "bc", 5)


def test_a_party_who_joins_suspends_the_others_until_he_has_heard_it_or_is_gone() -> None:
    _, consent = two_parties()
    consent.delivered(evidence(A))
    consent.delivered(evidence(B))
    consent.join(C)
    assert [consent.state(leg) for leg in (A, B, C)] == [State.SUSPENDED_BY_JOINER] * 2 + [State.UNKNOWN]
    assert not any(map(consent.may_capture, (A, B, C)))
    consent.delivered(evidence(C))
    assert [consent.state(leg) for leg in (A, B, C)] == [State.IMPLIED] * 3
    late = LegHandle(9)
    consent.join(late)
    assert not any(map(consent.may_capture, (A, B, C)))
    consent.leave(late)
    assert consent.may_capture(A)


def test_a_broken_notice_must_be_played_again() -> None:
    consent = ConsentAuthority().open_call("c1")
    consent.join(A)
    consent.happens(A, Event.NOTICE_STARTED)
    assert consent.happens(A, Event.NOTICE_BROKEN) is State.NOTICE_FAILED
    assert not any(map(consent.may_capture, (A, B, C)))
    consent.delivered(evidence(A))
    assert consent.may_capture(A)


@pytest.mark.parametrize("event", [Event.PAUSE, Event.WITHDRAW])
def test_pause_and_withdrawal_stop_the_capture(event: Event) -> None:
    consent = ConsentAuthority().open_call("c1")
    consent.join(A)
    consent.delivered(evidence(A))
    consent.happens(A, event)
    with pytest.raises(ConsentError):
        consent.token(A, 30)
    consent.happens(A, Event.RESUME)
    assert consent.may_capture(A) is (event is Event.PAUSE)


def test_a_withdrawn_party_is_not_revived_by_hearing_the_notice_again() -> None:
    consent = ConsentAuthority().open_call("c1")
    consent.join(A)
    consent.delivered(evidence(A))
    consent.happens(A, Event.WITHDRAW)
    consent.delivered(evidence(A))
    assert consent.state(A) is State.WITHDRAWN
    assert consent.ignored[Event.NOTICE_ENDED] == 1


@pytest.mark.parametrize(
    "wrong", [{"call_id": "other"}, {"prompt_sha256": ""}, {"ended_ns": 9}], ids=["other call", "no hash", "ends first"]
)
def test_evidence_that_proves_nothing_is_refused(wrong: dict[str, object]) -> None:
    _, consent = two_parties()
    with pytest.raises(ConsentError, match="does not prove"):
        consent.delivered(dataclasses.replace(evidence(A), **wrong))  # type: ignore[arg-type]


def test_strangers_and_backdated_tokens_are_refused() -> None:
    consent = ConsentAuthority().open_call("c1")
    with pytest.raises(ConsentError, match="no party"):
        consent.token(A, 1)
    assert not consent.may_capture(A)  # an empty call is not a permitted one
    consent.join(A)
    consent.delivered(evidence(A, ended_ns=50))
    with pytest.raises(ConsentError, match="older than the notice"):
        consent.token(A, 49)


def test_every_state_is_in_the_table_and_only_hearing_or_agreeing_leads_to_capture() -> None:
    mentioned = {state for state, _ in TRANSITIONS} | {state for state in TRANSITIONS.values() if state}
    assert mentioned == set(State)
    into_capture = {(state, event) for (state, event), after in TRANSITIONS.items() if after in PERMITTED}
    assert into_capture == {
        (State.NOTICE_DELIVERED, Event.STAYED),
        (State.UNKNOWN, Event.AGREED), (State.NOTICE_PLAYING, Event.AGREED),
        (State.NOTICE_DELIVERED, Event.AGREED), (State.NOTICE_FAILED, Event.AGREED), (State.IMPLIED, Event.AGREED),
        (State.DENIED, Event.AGREED), (State.WITHDRAWN, Event.AGREED),
    }  # fmt: skip
    back = {state for (state, _), after in TRANSITIONS.items() if after is None}
    assert back == {State.PAUSED, State.SUSPENDED_BY_JOINER}  # reached only from permitted states
    entered_from = {state for (state, _), after in TRANSITIONS.items() if after in back}
    assert entered_from == PERMITTED | {State.SUSPENDED_BY_JOINER}


def test_no_random_script_ever_yields_a_token_while_somebody_has_not_heard_the_notice() -> None:
    draw = random.Random(866)
    granted = 0
    for _ in range(3_000):
        authority = ConsentAuthority(b"k" * 32)
        consent = authority.open_call("c1")
        present: set[LegHandle] = set()
        heard: set[LegHandle] = set()
        now = 100
        for _ in range(draw.randrange(1, 25)):
            now += draw.randrange(1, 5)
            leg = draw.choice((A, B, C))
            action = draw.randrange(4)
            if action == 0 and leg not in present:
                consent.join(leg)
                present.add(leg)
            elif action == 1 and leg in present:
                consent.delivered(evidence(leg, ended_ns=now))
                heard.add(leg)
            elif action == 2:
                consent.leave(leg)
                present.discard(leg)
                heard.discard(leg)
            elif action == 3 and leg in present:
                consent.happens(leg, draw.choice((Event.NOTICE_STARTED, Event.NOTICE_BROKEN)))
            allowed = bool(present) and present == heard
            assert all(consent.may_capture(party) is allowed for party in present)
            for party in present:
                if allowed:
                    assert authority.verify(consent.token(party, now))
                    granted += 1
                else:
                    with pytest.raises(ConsentError):
                        consent.token(party, now)
    assert granted > 500


def answered(leg: LegHandle, ended_ns: int) -> Evidence:
    return dataclasses.replace(evidence(leg, ended_ns=ended_ns), evidence_id=f"a{leg}-{ended_ns}", how="dtmf")


def test_a_refusal_removes_that_party_and_nobody_else() -> None:
    consent = ConsentAuthority().open_call("c1", rules=ConsentRules("press", ask="press"))
    consent.join(A)
    consent.join(B)
    consent.delivered(evidence(A))
    consent.delivered(evidence(B))
    assert consent.states() == {A: State.NOTICE_DELIVERED, B: State.NOTICE_DELIVERED}
    consent.agreed(answered(A, 30))
    assert not consent.may_capture(A)  # B has said nothing yet
    assert consent.refused(B) is State.DENIED
    assert (consent.may_capture(A), consent.may_capture(B)) == (True, False)
    assert consent.token(A, 31).evidence_id == f"a{A}-30"
    assert consent.refused(A) is State.WITHDRAWN
    assert not consent.may_capture(A)
    assert consent.agreed(answered(A, 40)) is State.GRANTED  # may change its mind
    assert consent.may_capture(A)


def test_where_all_must_agree_one_refusal_silences_all() -> None:
    consent = ConsentAuthority().open_call("c1", rules=ConsentRules("both", parties="all"))
    consent.join(A)
    consent.delivered(evidence(A))
    consent.join(B)
    consent.delivered(evidence(B))
    assert consent.may_capture(A)
    consent.refused(B)
    assert (consent.may_capture(A), consent.may_capture(B)) == (False, False)
    consent.leave(B)
    assert consent.may_capture(A)


def test_where_only_the_joiner_waits_the_others_go_on() -> None:
    consent = ConsentAuthority().open_call("c1", rules=ConsentRules("j", joiner="joiner"))
    consent.join(A)
    consent.delivered(evidence(A))
    consent.join(B)
    assert (consent.may_capture(A), consent.may_capture(B)) == (True, False)


def test_staying_is_consent_only_after_the_time_the_policy_names() -> None:
    consent = ConsentAuthority().open_call("c1", rules=ConsentRules("s", ask="stay", stay_s=2.0))
    consent.join(A)
    consent.delivered(evidence(A))
    assert consent.state(A) is State.NOTICE_DELIVERED
    assert consent.stayed(A) is State.IMPLIED
    pressing = ConsentAuthority().open_call("c1", rules=ConsentRules("p", ask="press"))
    pressing.join(A)
    pressing.delivered(evidence(A))
    assert pressing.stayed(A) is State.NOTICE_DELIVERED


def test_a_policy_of_never_gives_no_token_whatever_is_said() -> None:
    consent = ConsentAuthority().open_call("c1", rules=ConsentRules("never", ask="never"))
    consent.join(A)
    consent.agreed(answered(A, 30))
    with pytest.raises(ConsentError):
        consent.token(A, 31)


@pytest.mark.parametrize(
    ("proof", "sent", "lost", "state"),
    [
        ("sent", 150, -1, State.IMPLIED),
        ("rtcp", 150, -1, State.NOTICE_FAILED),
        ("rtcp", 150, 7, State.IMPLIED),
        ("rtcp", 150, 8, State.NOTICE_FAILED),
        ("sent", 150, 8, State.NOTICE_FAILED),
        ("sent", 0, 1, State.NOTICE_FAILED),
    ],
)
def test_a_notice_counts_as_heard_only_if_enough_of_it_arrived(proof: str, sent: int, lost: int, state: State) -> None:
    consent = ConsentAuthority().open_call("c1", rules=ConsentRules("r", proof=proof))  # type: ignore[arg-type]
    consent.join(A)
    consent.delivered(dataclasses.replace(evidence(A), delivery=Delivery(sent, lost)))
    assert consent.state(A) is state
    consent.delivered(dataclasses.replace(evidence(A), delivery=Delivery(150, 0)))  # played again
    assert consent.state(A) is State.IMPLIED


def test_a_pause_outlasts_whoever_joins_or_agrees_meanwhile() -> None:
    consent = ConsentAuthority().open_call("c1")
    consent.join(A)
    consent.delivered(evidence(A))
    consent.pause()
    consent.join(B)
    consent.delivered(evidence(B))
    assert consent.states() == {A: State.PAUSED, B: State.PAUSED}
    consent.join(C)
    consent.resume()
    assert consent.states() == {A: State.SUSPENDED_BY_JOINER, B: State.SUSPENDED_BY_JOINER, C: State.UNKNOWN}
    consent.delivered(evidence(C))
    assert all(map(consent.may_capture, (A, B, C)))


def test_whoever_joins_again_has_said_nothing() -> None:
    consent = ConsentAuthority().open_call("c1")
    consent.join(A)
    consent.delivered(evidence(A))
    consent.join(A)
    assert consent.state(A) is State.UNKNOWN
    with pytest.raises(ConsentError):
        consent.evidence(A)


def test_the_page_in_docs_draws_this_very_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "recording-and-consent.md").read_text(encoding="utf-8")
    rows = page.split("<!-- transitions -->")[1].split("<!-- /transitions -->")[0].strip().splitlines()
    drawn = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]
    assert drawn == [
        (s.value, e.value, after.value if after else "(as before)") for (s, e), after in TRANSITIONS.items()
    ]
