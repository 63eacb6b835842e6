"""REGISTER as phones send it: several contacts, expiry, unregistering, order, NAT, bounds. RFC 3261 §10."""

from __future__ import annotations

import re

import pytest

from mediaserver.sip.bindings import Binding, BindingTable
from mediaserver.sip.parser import parse_message
from mediaserver.sip.registrar import Arrival, RegisterAnswer, Registrar

S = 1_000_000_000
T0 = 1_000 * S
FLOW = Arrival(flow="udp/192.0.2.7:5060", source=("192.0.2.7", 5060))


def register(*lines: str, cseq: int = 1, call_id: str = "c1", user: str = "alice"):
    head = (
        "REGISTER sip:home SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1",
        f"From: <sip:{user}@home>;tag=1",
        f"To: <sip:{user}@home>",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} REGISTER",
    )
    return parse_message("\r\n".join((*head, *lines, "Content-Length: 0", "", "")).encode())


class Phone:
    """Sends REGISTERs with rising CSeq over one flow."""

    def __init__(self, registrar: Registrar, call_id: str = "c1", arrival: Arrival = FLOW) -> None:
        self.registrar, self.call_id, self.arrival, self.cseq = registrar, call_id, arrival, 0

    def __call__(self, *lines: str, now: int = T0, user: str = "alice") -> RegisterAnswer:
        self.cseq += 1
        request = register(*lines, cseq=self.cseq, call_id=self.call_id)
        return self.registrar.register(request, user, self.arrival, now)


@pytest.fixture
def registrar() -> Registrar:
    return Registrar(min_expires_s=60, max_expires_s=3_600)


def uris(registrar: Registrar, now: int = T0) -> list[str]:
    return [b.uri for b in registrar.targets_for("alice", now)]


def contacts(answer: RegisterAnswer) -> list[str]:
    return [v for n, v in answer.headers if n == "Contact"]


def test_a_contact_is_taken_and_echoed_with_its_seconds(registrar):
    answer = Phone(registrar)('Contact: <sip:alice@192.0.2.7:5062;ob>;expires=120;+sip.instance="<urn:uuid:1>"')
    assert answer.status == 200
    assert contacts(answer) == ['<sip:alice@192.0.2.7:5062;ob>;expires=120;+sip.instance="<urn:uuid:1>"']


def test_the_expires_header_counts_where_the_contact_says_nothing(registrar):
    phone = Phone(registrar)
    assert "expires=300" in contacts(phone("Contact: <sip:a@h>", "Expires: 300"))[0]
    assert "expires=3600" in contacts(phone("Contact: <sip:a@h>"))[0]
    assert "expires=3600" in contacts(phone("Contact: <sip:a@h>;expires=soon"))[0]
    assert "expires=3600" in contacts(phone("Contact: <sip:a@h>;expires=99999999999999999999"))[0]


def test_several_contacts_come_back_by_preference(registrar):
    phone = Phone(registrar)
    phone("Contact: <sip:a@h1>;q=0.2, <sip:a@h2>;q=0.9", "Contact: <sip:a@h3>;q=0.5")
    assert uris(registrar) == ["sip:a@h2", "sip:a@h3", "sip:a@h1"]


def test_a_register_without_contact_asks_and_changes_nothing(registrar):
    phone = Phone(registrar)
    phone("Contact: <sip:a@h>;expires=100")
    assert contacts(phone(now=T0 + 40 * S)) == ["<sip:a@h>;expires=60"]


def test_an_equal_contact_is_refreshed_not_added(registrar):
    phone = Phone(registrar)
    phone("Contact: <sip:Alice@HOST:5060;transport=udp>;expires=100")
    phone("Contact: <sip:Alice@host:5060;Transport=UDP>;expires=200")
    assert len(registrar.targets_for("alice", T0)) == 1
    assert registrar.next_deadline() == T0 + 200 * S


def test_expires_zero_removes_one_contact_and_leaves_the_others(registrar):
    phone = Phone(registrar)
    phone("Contact: <sip:a@h1>, <sip:a@h2>")
    assert phone("Contact: <sip:a@h1>;expires=0").status == 200
    assert uris(registrar) == ["sip:a@h2"]


def test_star_with_expires_zero_removes_all(registrar):
    phone = Phone(registrar)
    phone("Contact: <sip:a@h1>, <sip:a@h2>")
    answer = phone("Contact: *", "Expires: 0")
    assert (answer.status, answer.headers) == (200, ())
    assert uris(registrar) == []
    assert registrar.next_deadline() is None


@pytest.mark.parametrize(
    "lines", [("Contact: *",), ("Contact: *", "Expires: 10"), ("Contact: *, <sip:a@h>", "Expires: 0")]
)
def test_star_with_anything_else_is_a_bad_request_and_removes_nothing(registrar, lines):
    phone = Phone(registrar)
    phone("Contact: <sip:a@h1>")
    assert phone(*lines).status == 400
    assert uris(registrar) == ["sip:a@h1"]


def test_too_brief_an_interval_gets_423_with_the_minimum(registrar):
    answer = Phone(registrar)("Contact: <sip:a@h>;expires=59")
    assert (answer.status, answer.headers) == (423, (("Min-Expires", "60"),))
    assert Phone(registrar)("Contact: <sip:a@h>;expires=60").status == 200


def test_one_bad_contact_of_two_takes_neither(registrar):
    phone = Phone(registrar)
    assert phone("Contact: <sip:a@h1>;expires=600, <sip:a@h2>;expires=1").status == 423
    assert phone("Contact: <sip:a@h1>, <mailto:a@h2>").status == 400
    assert uris(registrar) == []


def test_a_user_registers_nobody_but_himself(registrar):
    assert Phone(registrar)("Contact: <sip:a@h>", user="mallory").status == 403
    assert uris(registrar) == []


def test_a_late_register_of_the_same_call_changes_nothing(registrar):
    registrar.register(register("Contact: <sip:a@h>;expires=100", cseq=5), "alice", FLOW, T0)
    for cseq in (4, 5):
        late = register("Contact: <sip:a@h>;expires=900", cseq=cseq)
        assert registrar.register(late, "alice", FLOW, T0).status == 500
    star = register("Contact: *", "Expires: 0", cseq=4)
    assert registrar.register(star, "alice", FLOW, T0).status == 500
    assert registrar.next_deadline() == T0 + 100 * S
    other = register("Contact: <sip:a@h>;expires=900", cseq=1, call_id="after a reboot")
    assert registrar.register(other, "alice", FLOW, T0).status == 200


@pytest.mark.parametrize(("past_ns", "left"), [(-1, 1), (0, 0), (1, 0)])
def test_a_binding_lives_to_the_nanosecond(registrar, past_ns, left):
    Phone(registrar)("Contact: <sip:a@h>;expires=60")
    deadline = registrar.next_deadline()
    assert deadline == T0 + 60 * S
    registrar.handle_timers(deadline + past_ns)
    assert len(registrar.table) == left
    assert len(uris(registrar, deadline + past_ns)) == left


def test_seconds_left_are_rounded_up_so_that_a_phone_never_reads_zero_of_a_live_binding(registrar):
    phone = Phone(registrar)
    phone("Contact: <sip:a@h>;expires=60")
    assert contacts(phone(now=T0 + 60 * S - 1)) == ["<sip:a@h>;expires=1"]


def test_a_phone_behind_nat_is_kept_with_the_flow_it_came_by(registrar):
    natted = Arrival(flow="udp/203.0.113.9:40000", source=("203.0.113.9", 40000))
    Phone(registrar, arrival=natted)("Contact: <sip:a@10.0.0.5:5060>")
    binding = registrar.targets_for("alice", T0)[0]
    assert (binding.uri, binding.flow, binding.direct) == ("sip:a@10.0.0.5:5060", "udp/203.0.113.9:40000", False)


def test_a_refresh_from_another_port_moves_the_flow(registrar):
    Phone(registrar)("Contact: <sip:a@10.0.0.5>")
    moved = Arrival("udp/192.0.2.7:6000", ("192.0.2.7", 6000))
    Phone(registrar, "c2", moved)("Contact: <sip:a@10.0.0.5>")
    assert registrar.targets_for("alice", T0)[0].flow == "udp/192.0.2.7:6000"
    registrar.flow_closed(FLOW.flow)
    assert len(registrar.table) == 1


def test_a_browser_is_gone_when_its_connection_is(registrar):
    Phone(registrar)("Contact: <sip:x7@k3j.invalid;transport=ws>")
    registrar.flow_closed(FLOW.flow)
    assert uris(registrar) == []


def test_a_phone_that_can_be_dialled_outlives_its_connection(registrar):
    Phone(registrar)("Contact: <sip:a@192.0.2.7:5060;transport=tcp>")
    registrar.flow_closed(FLOW.flow)
    assert [(b.uri, b.flow) for b in registrar.targets_for("alice", T0)] == [
        ("sip:a@192.0.2.7:5060;transport=tcp", None)
    ]


def test_a_device_that_comes_back_under_another_contact_replaces_itself(registrar):
    Phone(registrar)('Contact: <sip:a@192.0.2.7:40001>;+sip.instance="<urn:uuid:1>"')
    Phone(registrar, "c2")('Contact: <sip:a@192.0.2.7:40002>;+sip.instance="<urn:uuid:1>"')
    Phone(registrar, "c3")('Contact: <sip:a@192.0.2.7:40003>;+sip.instance="<urn:uuid:2>"')
    assert sorted(uris(registrar)) == ["sip:a@192.0.2.7:40002", "sip:a@192.0.2.7:40003"]


def test_a_user_keeps_at_most_so_many_contacts_and_loses_the_stalest():
    table = BindingTable(per_user_max=3)
    for i in range(5):
        key = f"sip:a@h{i}"
        table.apply("alice", [Binding("alice", key, None, T0 + S, "c", 1, key=key)], [])
    assert [b.key for b in table] == ["sip:a@h2", "sip:a@h3", "sip:a@h4"]
    assert (len(table), table.pushed_out) == (3, 2)


def test_a_full_registrar_says_when_to_come_again(registrar):
    registrar.table = BindingTable(total_max=1)
    assert Phone(registrar)("Contact: <sip:a@h1>").status == 200
    answer = Phone(registrar, "c2")("Contact: <sip:a@h2>")
    assert (answer.status, answer.headers) == (503, (("Retry-After", "60"),))


def test_each_change_and_each_expiry_is_told_for_keeping():
    told = []
    registrar = Registrar(on_change=lambda user, bindings: told.append((user, [b.uri for b in bindings])))
    phone = Phone(registrar)
    phone("Contact: <sip:a@h>;expires=60")
    phone()
    registrar.handle_timers(T0 + 60 * S)
    assert told == [("alice", ["sip:a@h"]), ("alice", [])]


def test_a_removed_user_is_forgotten_and_others_stay(registrar):
    told = []
    registrar.table = BindingTable(on_change=lambda user, bindings: told.append((user, len(bindings))))
    Phone(registrar)("Contact: <sip:a@h1>, <sip:a@h2>")
    registrar.forget("alice")
    registrar.forget("nobody")
    assert uris(registrar) == []
    assert told == [("alice", 2), ("alice", 0)]


def test_path_is_kept_for_the_way_back_and_echoed(registrar):
    answer = Phone(registrar)("Path: <sip:edge1;lr>, <sip:edge2;lr>", "Contact: <sip:a@h>")
    assert ("Path", "<sip:edge1;lr>, <sip:edge2;lr>") in answer.headers
    assert registrar.targets_for("alice", T0)[0].path == ("<sip:edge1;lr>", "<sip:edge2;lr>")


def test_a_contact_that_cannot_be_read_is_a_bad_request(registrar):
    for line in ('Contact: "open <sip:a@h>', "Contact: <sip:>", "Contact: <sip:a@h", "Contact: alice"):
        assert Phone(registrar)(line).status == 400
    assert len(registrar.table) == 0


def test_refreshing_for_a_year_leaves_no_rows_behind(registrar):
    phone = Phone(registrar)
    for i in range(2_000):
        now = T0 + i * 30 * S
        registrar.handle_timers(now)
        phone("Contact: <sip:a@h>;expires=60", now=now)
    assert len(registrar.table) == 1
    assert len(registrar.table._heap) <= 65


def test_no_number_shows_in_the_repr_of_a_binding(registrar):
    Phone(registrar)("Contact: <sip:79161234567@192.0.2.7>")
    assert not re.search("79161234567|192.0.2.7", repr(registrar.targets_for("alice", T0)[0]))
