import random
from itertools import count

import pytest

from mediaserver.limits import ICE_CONSENT_NS, ICE_SOURCES_MAX
from mediaserver.model import MediaAddress
from mediaserver.webrtc import stun
from mediaserver.webrtc.ice import IceAgent, IceCredentials
from mediaserver.webrtc.stun import Attribute, Kind

OURS = IceCredentials("ours", "our-password-of-22-chars")
THEIRS = IceCredentials("them", "their-password-of-22-char")
BROWSER = MediaAddress("192.0.2.7", 40_000)
OTHER = MediaAddress("2001:db8::7", 40_001)


@pytest.fixture
def agent():
    made = IceAgent(OURS)
    made.remote = THEIRS
    return made


numbers = count()


def check(*, username="ours:them", password=OURS.password, nominate=False, more=(), number=None):
    attributes = [(Attribute.USERNAME, username.encode()), (Attribute.PRIORITY, b"\0\0\0\1")]
    attributes += [(Attribute.ICE_CONTROLLING, bytes(8))] if not more else list(more)
    if nominate:
        attributes.append((Attribute.USE_CANDIDATE, b""))
    transaction_id = (next(numbers) if number is None else number).to_bytes(12, "big")
    return stun.write(Kind.REQUEST, transaction_id, attributes, password.encode())


def test_a_check_with_our_password_is_answered_with_the_address_it_came_from(agent):
    agent.receive(check(number=77), BROWSER, 0)
    [(data, to)] = agent.poll()
    answer = stun.parse(data)
    assert to == BROWSER
    assert answer.kind is Kind.SUCCESS
    assert answer.integrity_holds(OURS.password.encode())
    assert answer.has_fingerprint
    assert stun.read_xor_address(answer.attributes[Attribute.XOR_MAPPED_ADDRESS], (77).to_bytes(12, "big")) == (
        "192.0.2.7",
        40_000,
    )
    assert agent.knows(BROWSER)
    assert agent.target == BROWSER
    assert agent.selected is None


def test_the_address_that_is_nominated_is_selected_and_a_later_nomination_moves_it(agent):
    agent.receive(check(nominate=True), BROWSER, 0)
    assert agent.selected == BROWSER
    agent.receive(check(), OTHER, 1)
    assert agent.target == BROWSER
    agent.receive(check(nominate=True), OTHER, 2)
    assert agent.selected == OTHER


@pytest.mark.parametrize(
    "stranger",
    [
        check(password="another-password-22-chars"),
        check(username="ours:else"),
        check(username="else:them"),
        check(username="ours"),
        check(username=""),
        stun.write(Kind.REQUEST, bytes(12), [(Attribute.USERNAME, b"ours:them")]),
        stun.write(Kind.SUCCESS, bytes(12), [], OURS.password.encode()),
        check()[:-8],
        b"\0\1\0\0",
    ],
)
def test_who_does_not_know_the_password_gets_no_answer_and_changes_nothing(agent, stranger):
    agent.receive(stranger, BROWSER, 0)
    assert agent.poll() == []
    assert not agent.knows(BROWSER)
    assert agent.target is None
    assert sum(agent.dropped.values()) == 1


def test_checks_that_come_before_the_answer_are_answered(agent):
    agent.remote = None
    agent.receive(check(username="ours:whoever", nominate=True), BROWSER, 0)
    assert agent.selected == BROWSER


def test_a_peer_that_believes_to_be_controlled_is_told_487(agent):
    agent.receive(check(more=[(Attribute.ICE_CONTROLLED, b"\xff" * 8)]), BROWSER, 0)
    [(data, _)] = agent.poll()
    assert stun.parse(data).attributes[Attribute.ERROR_CODE].startswith(b"\0\0\x04\x57")
    assert not agent.knows(BROWSER)


def test_an_attribute_that_must_be_understood_and_is_not_gets_420(agent):
    agent.receive(check(more=[(0x7F00, b"")]), BROWSER, 0)
    [(data, _)] = agent.poll()
    answer = stun.parse(data)
    assert answer.attributes[Attribute.ERROR_CODE].startswith(b"\0\0\x04\x14")
    assert answer.attributes[Attribute.UNKNOWN_ATTRIBUTES] == b"\x7f\0"


def test_consent_ends_thirty_seconds_after_the_last_check_and_not_a_nanosecond_sooner(agent):
    agent.receive(check(nominate=True), BROWSER, 5)
    assert agent.next_deadline() == 5 + ICE_CONSENT_NS
    agent.handle_timer(4 + ICE_CONSENT_NS)
    assert agent.selected == BROWSER
    agent.handle_timer(5 + ICE_CONSENT_NS)
    assert agent.selected is None
    assert agent.target is None
    assert agent.next_deadline() is None


def test_each_check_renews_consent(agent):
    agent.receive(check(nominate=True), BROWSER, 0)
    agent.receive(check(), BROWSER, 1_000)
    agent.handle_timer(ICE_CONSENT_NS)
    assert agent.selected == BROWSER


def test_a_restart_takes_new_credentials_and_keeps_the_way_until_the_next_nomination(agent):
    agent.receive(check(nominate=True), BROWSER, 0)
    agent.restart(IceCredentials("anew", "a-new-password-of-22-char"))
    agent.receive(check(nominate=True), OTHER, 1)
    assert agent.selected == BROWSER
    agent.receive(check(username="anew:x", password="a-new-password-of-22-char", nominate=True), OTHER, 2)
    assert agent.selected == OTHER


def test_the_addresses_of_one_leg_are_bounded_and_the_selected_one_stays(agent):
    agent.receive(check(nominate=True), BROWSER, 0)
    for port in range(ICE_SOURCES_MAX + 5):
        agent.receive(check(), MediaAddress("192.0.2.8", 1_000 + port), 1 + port)
    known = [port for port in range(ICE_SOURCES_MAX + 5) if agent.knows(MediaAddress("192.0.2.8", 1_000 + port))]
    assert len(known) == ICE_SOURCES_MAX - 1
    assert agent.selected == BROWSER


def test_mutated_checks_never_raise_and_never_prove_an_address(agent):
    rng = random.Random(8445)
    whole = check(nominate=True)
    for _ in range(3_000):
        mutated = bytearray(whole)
        for _ in range(rng.randint(1, 5)):
            mutated[rng.randrange(len(mutated))] ^= rng.randint(1, 255)
        agent.receive(bytes(mutated), OTHER, 0)
    agent.receive(b"", OTHER, 0)
    assert agent.poll() == [] or all(stun.parse(data).kind is Kind.ERROR for data, _ in agent.poll())
    assert not agent.knows(OTHER)


def test_a_check_that_somebody_repeats_from_elsewhere_does_not_move_the_way(agent):
    overheard = check(nominate=True)
    agent.receive(overheard, BROWSER, 0)
    agent.poll()
    agent.receive(overheard, OTHER, 1)
    assert agent.poll() == []
    assert agent.selected == BROWSER
    assert not agent.knows(OTHER)
    agent.receive(overheard, BROWSER, 2)
    assert len(agent.poll()) == 1


def test_an_address_that_is_not_admitted_gets_no_answer_and_a_refused_one_is_given_back():
    asked, given_back = [], []

    def admit(address):
        asked.append(address)
        return address != OTHER

    agent = IceAgent(IceCredentials("ours", "o" * 24), admit, given_back.append)
    agent.remote = IceCredentials("them", "t" * 24)

    def check(source, *more):
        attributes = [(Attribute.USERNAME, b"ours:them"), *more]
        agent.receive(stun.write(Kind.REQUEST, bytes([len(asked)] * 12), attributes, b"o" * 24), source, 0)

    check(OTHER, (Attribute.USE_CANDIDATE, b""))
    assert agent.poll() == []
    assert agent.dropped["address"] == 1
    check(BROWSER, (Attribute.ICE_CONTROLLED, bytes(8)))
    assert len(agent.poll()) == 1
    assert given_back == [BROWSER]
    check(BROWSER, (Attribute.USE_CANDIDATE, b""))
    assert agent.selected == BROWSER
    assert asked == [OTHER, BROWSER, BROWSER]


def test_after_a_restart_the_former_credentials_keep_up_what_was_proven_and_nothing_new():
    agent = IceAgent(IceCredentials("ours", "o" * 24))
    agent.remote = IceCredentials("them", "t" * 24)

    def check(ufrag, password, source, number, *more):
        attributes = [(Attribute.USERNAME, f"{ufrag}:them".encode()), *more]
        agent.receive(stun.write(Kind.REQUEST, bytes([number] * 12), attributes, password * 24), source, number)
        return len(agent.poll())

    assert check("ours", b"o", BROWSER, 1, (Attribute.USE_CANDIDATE, b"")) == 1
    agent.restart(IceCredentials("new", "n" * 24))
    agent.remote = IceCredentials("them", "t" * 24)
    assert check("ours", b"o", BROWSER, 2) == 1
    assert check("ours", b"o", OTHER, 3, (Attribute.USE_CANDIDATE, b"")) == 0
    assert check("ours", b"x", BROWSER, 4) == 0
    assert agent.next_deadline() == 2 + ICE_CONSENT_NS
    assert check("new", b"n", OTHER, 5, (Attribute.USE_CANDIDATE, b"")) == 1
    assert agent.selected == OTHER
    assert check("ours", b"o", BROWSER, 6) == 0  # they are forgotten now
