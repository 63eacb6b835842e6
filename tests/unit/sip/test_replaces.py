"""Replaces in INVITE and in Refer-To (RFC 3891, 5589): whose dialog may be named, and what the others are told."""

from __future__ import annotations

import pytest

from mediaserver.errors import ParseError
from mediaserver.sip.dialog import DialogId
from mediaserver.sip.replaces import Replaces, parse_replaces
from mediaserver.sip.session_events import ReferReceived
from mediaserver.sip.uri import escape_user
from tests.support.sip_calls import OURS, THEIRS, TRUSTED, IncomingCall
from tests.support.sip_net import SDP_A, SDP_B, Network, Script, Site, users
from tests.unit.sip.test_ua import Phone, settings


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a@h;to-tag=1;from-tag=2", Replaces(DialogId("a@h", "1", "2"))),
        (" a@h ; From-Tag = 2 ;x=y; to-tag= 1;early-only", Replaces(DialogId("a@h", "1", "2"), early_only=True)),
        ("a@h;to-tag=1;from-tag=0", Replaces(DialogId("a@h", "1", "0"))),
    ],
)
def test_the_header_names_a_dialog_as_its_receiver_keeps_it(value: str, read: Replaces) -> None:
    assert parse_replaces(value) == read


@pytest.mark.parametrize(
    "value",
    ["", "a@h", "a@h;to-tag=1", "a@h;from-tag=1", "a@h;to-tag=1;to-tag=2;from-tag=3", "a@h;to-tag=;from-tag=3",
     ";to-tag=1;from-tag=2", "a b;to-tag=1;from-tag=2"],
)  # fmt: skip
def test_a_value_that_names_no_dialog_is_malformed(value: str) -> None:
    with pytest.raises(ParseError):
        parse_replaces(value)


class TwoCalls(IncomingCall):
    """A peer with an established call and a second one."""

    def __init__(self, *, answered: bool = True) -> None:
        super().__init__()
        self.established()
        self.peer.send(OURS, self._second("INVITE", 1, body=SDP_A, tagged=False))
        self.net.run(0.05)
        self.second = self.site.room.calls[1]
        self.second.ring()
        if answered:
            self.second.accept(SDP_B)
            self.net.run(0.05)
            self.peer.send(OURS, self._second("ACK", 1, to=self.second.dialog.local.tag, tagged=False))
            self.net.run(0.05)
        self.peer.clear()

    def _second(self, method: str, cseq: int, *, to: str = "", **more: object) -> str:
        text = self.message(method, cseq, branch=f"second{method}{cseq}", **more)
        text = text.replace("call-1", "call-2").replace("tag=b1", "tag=b2")
        return text.replace("To: <sip:600@192.0.2.1>", f"To: <sip:600@192.0.2.1>;tag={to}") if to else text

    def named(self, *, to_tag: str = "", from_tag: str = "b2", call_id: str = "call-2", more: str = "") -> str:
        return f"{call_id};to-tag={to_tag or self.second.dialog.local.tag};from-tag={from_tag}{more}"

    def refer(self, value: str, cseq: int = 2) -> None:
        self.send("REFER", cseq, f"Refer-To: <sip:carol@192.0.2.1?Replaces={escape_user(value)}>")


def test_a_transfer_after_asking_names_the_other_call_of_the_same_party() -> None:
    calls = TwoCalls()
    calls.refer(calls.named())
    assert calls.peer.has("SIP/2.0 202")
    (event,) = [e for e in calls.events if isinstance(e, ReferReceived)]
    assert event.replaces is calls.second
    assert calls.peer.take("NOTIFY").body == b"SIP/2.0 100 Trying\r\n"


def test_an_agent_that_names_its_own_tag_first_is_understood() -> None:
    calls = TwoCalls()
    calls.refer(calls.named(to_tag="b2", from_tag=calls.second.dialog.local.tag))
    (event,) = [e for e in calls.events if isinstance(e, ReferReceived)]
    assert event.replaces is calls.second


def test_a_call_that_still_rings_may_be_named_by_a_refer() -> None:
    calls = TwoCalls(answered=False)
    calls.refer(calls.named(more=";early-only"))
    (event,) = [e for e in calls.events if isinstance(e, ReferReceived)]
    assert event.replaces is calls.second


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ({"to_tag": "other"}, b"SIP/2.0 481"),
        ({"from_tag": "other"}, b"SIP/2.0 481"),
        ({"call_id": "other"}, b"SIP/2.0 481"),
        ({"more": ";early-only"}, b"SIP/2.0 486"),
    ],
)
def test_a_transfer_to_a_call_that_is_not_there_is_told_so_and_nobody_is_moved(named: dict, line: bytes) -> None:
    calls = TwoCalls()
    calls.refer(calls.named(**named))
    assert calls.peer.has("SIP/2.0 202")
    assert not [e for e in calls.events if isinstance(e, ReferReceived)]
    calls.peer.answer(calls.peer.take("NOTIFY"), 200)
    calls.net.run(0.05)
    last = calls.peer.take("NOTIFY")
    assert last.body.startswith(line)
    assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
    assert calls.session.confirmed
    assert calls.second.confirmed


def test_a_call_cannot_be_transferred_to_itself() -> None:
    calls = TwoCalls()
    calls.refer(calls.named(call_id="call-1", to_tag=calls.session.dialog.local.tag, from_tag="b1"))
    assert not [e for e in calls.events if isinstance(e, ReferReceived)]


def test_a_refer_whose_replaces_cannot_be_read_is_a_bad_request() -> None:
    calls = TwoCalls()
    calls.refer("nonsense")
    assert calls.peer.has("SIP/2.0 400")


def test_a_call_of_somebody_else_is_as_good_as_none() -> None:
    calls = TwoCalls()
    calls.second.identity = "trunk:other"
    calls.refer(calls.named())
    assert not [e for e in calls.events if isinstance(e, ReferReceived)]


# -- INVITE with Replaces


def invite_in_place(value: str, *, second: str = "", identity: str = "", ended: bool = False) -> TwoCalls:
    calls = TwoCalls()
    if identity:
        calls.second.identity = identity
    if ended:
        calls.second.hang_up()
    text = calls.message("INVITE", 1, f"Replaces: {value.format(calls.named())}", *([second] if second else []),
                         body=SDP_A, tagged=False, branch="third")  # fmt: skip
    calls.peer.send(OURS, text.replace("call-1", "call-3").replace("tag=b1", "tag=b3"))
    calls.net.run(0.05)
    return calls


def test_an_invite_may_take_the_place_of_a_dialog_of_the_same_party() -> None:
    calls = invite_in_place("{}", second="Require: replaces")
    third = calls.site.room.calls[2]
    assert third.replaces is calls.second
    assert calls.session.replaces is None


@pytest.mark.parametrize(
    ("value", "identity", "ended", "status"),
    [
        ("{}x", "", False, 481),
        ("nobody;to-tag=1;from-tag=2", "", False, 481),
        ("{}", "trunk:other", False, 481),
        ("{}", "", True, 603),
        ("{};early-only", "", False, 486),
        ("nonsense", "", False, 400),
    ],
)
def test_an_invite_that_names_no_dialog_of_its_party_changes_nothing(
    value: str, identity: str, ended: bool, status: int
) -> None:
    calls = invite_in_place(value, identity=identity, ended=ended)
    assert calls.peer.has(f"SIP/2.0 {status}")
    assert len(calls.site.room.calls) == 2


@pytest.mark.parametrize("second", ["Replaces: a;to-tag=1;from-tag=2", "Join: a;to-tag=1;from-tag=2"])
def test_an_invite_takes_the_place_of_one_dialog_only(second: str) -> None:
    assert invite_in_place("{}", second=second).peer.has("SIP/2.0 400")


def test_a_dialog_that_was_not_answered_by_us_yet_cannot_be_replaced() -> None:
    calls = TwoCalls(answered=False)
    text = calls.message("INVITE", 1, f"Replaces: {calls.named()}", body=SDP_A, tagged=False, branch="third")
    calls.peer.send(OURS, text.replace("call-1", "call-3").replace("tag=b1", "tag=b3"))
    calls.net.run(0.05)
    assert calls.peer.has("SIP/2.0 481")


def test_a_user_may_replace_his_own_dialog_from_another_phone_and_nobody_else_can() -> None:
    net = Network()
    site = Site(net, OURS)
    first, second, stranger = Phone(net), Phone(net, ("192.0.2.8", 5060)), Phone(net, ("192.0.2.9", 5060), user="bob")
    site.room.on_call = lambda session: session.accept(SDP_B)
    contact = "Contact: <sip:alice@192.0.2.7>"
    answer = first.ask("INVITE", "sip:600@home", contact, body=SDP_A)
    assert answer.status == 200
    assert "replaces" in answer.headers.tokens("Supported")
    named = f"Replaces: {answer.call_id};to-tag={answer.to.tag};from-tag=t1"
    refused = stranger.ask("INVITE", "sip:600@home", "Contact: <sip:bob@192.0.2.9>", named, body=SDP_A, call_id="c2")
    assert refused.status == 481
    taken = second.ask("INVITE", "sip:600@home", "Contact: <sip:alice@192.0.2.8>", named, body=SDP_A, call_id="c3")
    assert taken.status == 200
    assert site.room.calls[-1].replaces is site.room.calls[0]


def ringing(groups: list[list[str]]) -> tuple[Network, Site, str]:
    """Bob's phone rings for a call of Alice. The value that names its dialog."""
    net = Network()
    site = Site(net, OURS, settings=settings(calls={"pickup_groups": groups}), directory=users("alice", "bob", "carol"))
    desk = Phone(net, ("192.0.2.9", 5060), user="bob")
    desk.register()
    (target,) = site.ua.contacts("bob")
    site.call(target)
    net.run(0.1)
    invite = desk.take("INVITE")
    desk.send(OURS, invite.response(180, to_tag="desk", headers=(("Contact", "<sip:bob@192.0.2.9>"),)))
    net.run(0.1)
    site.room.on_call = lambda session: session.accept(SDP_B)
    return net, site, f"{invite.call_id};to-tag={invite.from_.tag};from-tag=desk"


@pytest.mark.parametrize(
    ("user", "groups", "more", "status"),
    [
        ("bob", [], "", 200),  # what rings for him
        ("bob", [], ";early-only", 200),
        ("carol", [["bob", "carol"]], ";early-only", 200),
        ("carol", [], "", 481),
        ("carol", [["alice", "carol"], ["alice", "bob"]], "", 481),  # the caller's group is not the callee's
        ("alice", [], "", 481),  # she calls, it does not ring for her
        ("bob", [], "x", 481),
    ],
)
def test_a_ringing_call_is_picked_up_by_its_user_or_his_group(
    user: str, groups: list[list[str]], more: str, status: int
) -> None:
    net, site, named = ringing(groups)
    phone = Phone(net, ("192.0.2.8", 5060), user=user)
    header = f"Replaces: {named}{more}"
    answer = phone.ask("INVITE", "sip:bob@home", f"Contact: <sip:{user}@192.0.2.8>", header, body=SDP_A, call_id="p")
    assert answer.status == status
    assert [session.replaces is not None for session in site.room.calls] == ([True] if status == 200 else [])


def test_once_it_is_answered_a_call_of_the_group_is_nobody_elses() -> None:
    net, site, named = ringing([["bob", "carol"]])
    desk = net.nodes[("192.0.2.9", 5060)]
    (invite,) = net.sent(OURS, "INVITE")
    desk.send(OURS, invite.response(200, to_tag="desk", headers=(("Contact", "<sip:bob@192.0.2.9>"),), body=SDP_B))
    net.run(0.1)
    for user, status in (("carol", 481), ("bob", 486)):
        phone = Phone(net, ("192.0.2.8", 5060), user=user)
        named_so = f"Replaces: {named};early-only"
        assert phone.ask("INVITE", "sip:bob@home", CONTACT, named_so, body=SDP_A, call_id=user).status == status
    assert site.room.calls == []


CONTACT = "Contact: <sip:x@192.0.2.8>"


def test_our_own_invite_and_options_say_that_replaces_is_understood() -> None:
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    peer = Script(net, THEIRS)
    site.call("sip:600@192.0.2.7", SDP_A)
    net.run(0.05)
    assert "replaces" in peer.take("INVITE").headers.tokens("Supported")
    options = Phone(net).ask("OPTIONS", "sip:192.0.2.1", authenticate=False)
    assert "replaces" in options.headers.tokens("Supported")
