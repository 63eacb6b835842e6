"""The full ICE agent against another one, a lite one and strangers, over a network made of a list."""

import random

import pytest

from mediaserver.limits import ICE_CONSENT_NS, ICE_SOURCES_MAX
from mediaserver.model import MediaAddress
from mediaserver.webrtc import stun
from mediaserver.webrtc.candidates import Candidate, priority_of
from mediaserver.webrtc.ice import IceAgent, IceCredentials
from mediaserver.webrtc.ice_full import FullIceAgent, State
from mediaserver.webrtc.stun import Attribute, Kind

MS = 1_000_000
A, B, C = (MediaAddress("192.0.2.1", 8444), MediaAddress("198.51.100.2", 5000), MediaAddress("203.0.113.3", 6000))
ANNA, BORIS = IceCredentials("anna", "a" * 24), IceCredentials("bori", "b" * 24)


def candidate(address: MediaAddress, kind="host") -> str:
    return str(Candidate(address.host, address.port, kind, priority_of(kind)))


class Net:
    """Two agents and what is under way between them. open: (from, to) pairs that get through; None: all."""

    def __init__(self, left, right, *, left_at=A, right_at=B) -> None:
        self.agents = {left_at: left, right_at: right}
        self.now_ns = 1_000 * MS
        self.lost = lambda source, to: False
        self.sent: list[tuple[MediaAddress, MediaAddress, bytes]] = []

    def run(self, ms: int, step: int = 5) -> None:
        for _ in range(ms // step):
            for at, agent in self.agents.items():
                agent.handle_timer(self.now_ns)
                self._carry(at, agent)
            self.now_ns += step * MS

    def _carry(self, at, agent) -> None:
        for data, to in agent.poll():
            self.sent.append((at, to, data))
            if to in self.agents and not self.lost(at, to):
                self.agents[to].receive(data, at, self.now_ns)
                self._carry(to, self.agents[to])


def full(local, *, controlling=False, seed=1, **more):
    return FullIceAgent(local, controlling=controlling, random_bytes=random.Random(seed).randbytes, **more)


def pair(*, left=False, right=True, **more):
    """Two full agents that know of each other; which of them is controlling."""
    anna, boris = full(ANNA, controlling=left, seed=1), full(BORIS, controlling=right, seed=2, **more)
    anna.remote, boris.remote = BORIS, ANNA
    anna.add_candidate(candidate(B))
    boris.add_candidate(candidate(A))
    return anna, boris


def test_two_agents_find_and_select_each_other() -> None:
    anna, boris = pair()
    Net(anna, boris).run(1_000)
    assert (anna.selected, boris.selected) == (B, A)
    assert anna.knows(B)
    assert boris.target == A


@pytest.mark.parametrize("both", [False, True])
def test_two_agents_of_one_role_settle_who_is_who(both: bool) -> None:
    anna, boris = pair(left=both, right=both)
    Net(anna, boris).run(2_000)
    assert (anna.selected, boris.selected) == (B, A)
    assert anna.controlling != boris.controlling


def test_an_agent_nominates_where_the_other_is_lite() -> None:
    anna, boris = full(ANNA, controlling=True), IceAgent(BORIS)
    anna.remote, boris.remote = BORIS, ANNA
    anna.add_candidate(candidate(B))
    Net(anna, boris).run(1_000)
    assert (anna.selected, boris.selected) == (B, A)


def test_an_agent_behind_a_firewall_is_found_through_its_own_checks() -> None:
    """Nothing gets to Anna that she did not ask for first."""
    anna, boris = pair()
    net = Net(anna, boris)
    net.lost = lambda source, to: to == A and not any(s == A and t == source for s, t, _ in net.sent)
    net.run(2_000)
    assert (anna.selected, boris.selected) == (B, A)


def test_candidates_may_come_when_checks_are_under_way_or_never() -> None:
    anna, boris = full(ANNA), full(BORIS, controlling=True, seed=2)
    anna.remote, boris.remote = BORIS, ANNA
    net = Net(anna, boris)
    net.run(300)
    assert net.sent == []
    boris.add_candidate(candidate(A))  # Anna hears of Boris by his check only
    net.run(1_000)
    assert (anna.selected, boris.selected) == (B, A)


def test_a_third_of_all_packets_lost_only_takes_longer() -> None:
    rng = random.Random(4)
    anna, boris = pair()
    net = Net(anna, boris)
    net.lost = lambda source, to: rng.random() < 0.33
    net.run(8_000)
    assert (anna.selected, boris.selected) == (B, A)


def test_consent_is_asked_every_few_seconds_and_ends_after_thirty() -> None:
    anna, boris = pair()
    given_up = []
    anna._release = given_up.append
    net = Net(anna, boris)
    net.run(1_000)
    net.sent.clear()
    net.run(20_000, 20)
    assert 4 <= sum(source == A and data[:2] == b"\0\1" for source, _, data in net.sent) <= 6
    net.lost = lambda source, to: True
    last = anna._proven[B]
    net.now_ns = last + ICE_CONSENT_NS - MS
    anna.handle_timer(net.now_ns)
    assert anna.selected == B
    anna.handle_timer(last + ICE_CONSENT_NS)
    assert anna.selected is None
    assert given_up == [B]
    assert not anna.knows(B)


def test_a_restart_moves_to_where_the_peer_is_now() -> None:
    anna, boris = pair()
    net = Net(anna, boris)
    net.run(1_000)
    again, new = IceCredentials("anna2", "c" * 24), IceCredentials("bori2", "d" * 24)
    moved = full(new, controlling=True, seed=3)
    anna.restart(again)
    anna.remote, moved.remote = new, again
    moved.add_candidate(candidate(A))
    net.agents = {A: anna, C: moved}
    net.run(1_000)
    assert (anna.selected, moved.selected) == (C, A)


def test_who_does_not_know_the_password_gets_no_answer() -> None:
    anna, _ = pair()
    wrong = [(int(Attribute.USERNAME), b"anna:bori"), (int(Attribute.ICE_CONTROLLING), bytes(8))]
    for password in (b"guess", None):
        anna.receive(stun.write(Kind.REQUEST, bytes(12), wrong, password), C, 0)
    anna.receive(stun.write(Kind.REQUEST, bytes(12), [(int(Attribute.USERNAME), b"eve:bori")], b"a" * 24), C, 0)
    anna.receive(b"\0\1rubbish", C, 0)
    assert anna.poll() == []
    assert not anna.knows(C)
    assert anna.dropped == {"integrity": 2, "username": 1, "malformed": 1}


def test_an_answer_from_elsewhere_or_with_another_password_counts_for_nothing() -> None:
    anna = full(ANNA)
    anna.remote = BORIS
    anna.add_candidate(candidate(B))
    anna.handle_timer(0)
    ((check, to),) = anna.poll()
    assert to == B
    transaction = check[8:20]
    answer = [(int(Attribute.XOR_MAPPED_ADDRESS), stun.xor_address(A.host, A.port, transaction))]
    anna.receive(stun.write(Kind.SUCCESS, transaction, answer, b"wrong"), B, MS)
    assert anna.dropped["integrity"] == 1
    anna.receive(stun.write(Kind.SUCCESS, transaction, answer, b"b" * 24), C, MS)
    assert not anna.knows(B)
    assert not anna.knows(C)
    anna.receive(stun.write(Kind.SUCCESS, transaction, answer, b"b" * 24), B, MS)
    assert anna.dropped["stray response"] == 1


def test_nothing_is_sent_where_it_is_not_allowed_or_to_names() -> None:
    anna = full(ANNA, may_check=lambda host, port: host != B.host)
    anna.remote = BORIS
    anna.add_candidate(candidate(B))
    anna.add_candidate("1 1 udp 5 f00f00f0-0000-4000-8000-000000000000.local 5 typ host")
    anna.add_candidate("1 1 tcp 5 203.0.113.3 9 typ host tcptype active")
    for now_ms in range(0, 5_000, 20):
        anna.handle_timer(now_ms * MS)
    assert anna.poll() == []
    assert anna.dropped == {"candidate in a forbidden network": 1, "candidate of no use": 2}


def test_the_number_of_pairs_is_bounded() -> None:
    anna = full(ANNA)
    anna.remote = BORIS
    for n in range(50):
        anna.add_candidate(candidate(MediaAddress("198.51.100.2", 5_000 + n)))
    for now_ms in range(0, 60_000, 20):
        anna.handle_timer(now_ms * MS)
    assert len({to for _, to in anna.poll()}) == ICE_SOURCES_MAX
    assert anna.dropped["too many pairs"] == 50 - ICE_SOURCES_MAX
    assert anna.next_deadline() is None
    anna.add_candidate(candidate(C))  # a failed one makes room
    anna.handle_timer(70_000 * MS)
    assert [to for _, to in anna.poll()] == [C]


def test_an_address_that_another_leg_has_gets_no_answer() -> None:
    anna, boris = pair()
    anna._admit = lambda address: False
    Net(anna, boris).run(2_000)
    assert (anna.selected, boris.selected) == (None, None)
    assert anna.dropped["address"] > 0


def test_a_stun_server_tells_how_the_world_sees_us() -> None:
    anna = full(ANNA)
    anna.gather(C, 0)
    ((asked, to),) = anna.poll()
    assert to == C
    assert anna.gathering
    transaction = asked[8:20]
    answer = stun.write(
        Kind.SUCCESS,
        transaction,
        [(int(Attribute.XOR_MAPPED_ADDRESS), stun.xor_address("203.0.113.9", 7, transaction))],
    )
    anna.receive(answer, B, MS)
    assert anna.mapped is None
    anna.receive(answer, C, MS)
    assert anna.mapped == MediaAddress("203.0.113.9", 7)
    assert not anna.gathering


def test_a_silent_stun_server_is_given_up() -> None:
    anna = full(ANNA)
    anna.gather(C, 0)
    while (due := anna.next_deadline()) is not None:
        anna.handle_timer(due)
    assert len(anna.poll()) == 7
    assert not anna.gathering


def knock(agent: FullIceAgent, source: MediaAddress, number: int, now_ns: int) -> None:
    asked = [(int(Attribute.USERNAME), b"anna:bori"), (int(Attribute.ICE_CONTROLLING), bytes(8))]
    agent.receive(stun.write(Kind.REQUEST, number.to_bytes(12, "big"), asked, b"a" * 24), source, now_ns)


def test_a_peer_with_the_password_that_knocks_from_everywhere_has_few_places() -> None:
    admitted: set[MediaAddress] = set()
    anna = full(ANNA, admit=lambda address: admitted.add(address) is None, release=admitted.discard)
    anna.remote = BORIS
    for number in range(500):
        knock(anna, MediaAddress("198.51.100.2", 5_000 + number), number, number * MS)
    assert len(admitted) == ICE_SOURCES_MAX
    assert anna.knows(MediaAddress("198.51.100.2", 5_499))
    assert not anna.knows(MediaAddress("198.51.100.2", 5_000))


def test_the_selected_pair_gives_its_place_to_nobody() -> None:
    anna, boris = pair()
    net = Net(anna, boris)
    net.run(1_000)
    assert anna.selected == B
    anna._pairs[B].state = State.FAILED  # an answer to its consent check came from elsewhere
    for number in range(2 * ICE_SOURCES_MAX):
        anna.add_candidate(candidate(MediaAddress("198.51.100.2", 6_000 + number)))
    net.run(6_000)
    assert anna.selected == B


@pytest.mark.parametrize("via", [0, 7])
def test_a_check_that_somebody_repeats_from_elsewhere_does_not_move_the_way(via: int) -> None:
    admitted: set[MediaAddress] = set()
    anna, boris = full(ANNA, admit=lambda address: admitted.add(address) is None, release=admitted.discard), full(BORIS)
    boris.controlling = True
    anna.remote, boris.remote = BORIS, ANNA
    boris.add_candidate(candidate(A))
    net = Net(anna, boris)
    net.run(1_000)
    nominating = [data for at, to, data in net.sent if (at, to) == (B, A) and b"\x00\x25\x00\x00" in data]
    assert anna.selected == B
    assert nominating
    stranger = MediaAddress(C.host, C.port, via)
    for data in nominating:
        anna.receive(data, stranger, net.now_ns)
    assert anna.selected == B
    assert not anna.knows(stranger)
    assert anna.dropped["replayed"] == len(nominating)
    assert anna.poll() == []
