"""Who may act in a dialog: Call-ID and tags prove nothing, the way, the trunk's addresses and the password do."""

from __future__ import annotations

import pytest

from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request
from tests.support.sip_net import SDP_A, SDP_B, Network, Site
from tests.unit.sip.test_ua import OURS, PHONE, TRUNK, Phone, settings

CONTACT = "Contact: <sip:x@203.0.113.9:5060>"


@pytest.fixture
def net() -> Network:
    return Network()


def a_call(net: Network, site: Site, phone: Phone, **more) -> dict[str, str]:
    """What a request inside the call says."""
    site.room.on_call = lambda session: session.accept(SDP_B)
    answer = phone.invite(**more)
    phone.cseq -= 1  # an ACK has its INVITE's
    phone.send(OURS, phone.request("ACK", "sip:600@192.0.2.1", to=str(answer.to)))
    net.run(0.1)
    return {"to": str(answer.to)}


def acts(net: Network, method: str, address, inside, *, user: str, password: str = "a guess", cseq: int = 50) -> int:
    """The status a request gets that somebody at this address sends with the dialog's Call-ID and tags."""
    other = Phone(net, address, user=user, password=password)
    other.cseq = cseq
    more = {"body": SDP_A} if method == "INVITE" else {}
    lines = ("Refer-To: <sip:601@192.0.2.1>",) if method == "REFER" else ()
    return other.ask(method, "sip:600@192.0.2.1", CONTACT, *lines, **inside, **more).status


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO", "REFER", "UPDATE"])
def test_a_trunks_dialog_obeys_its_own_addresses_only(net, method):
    site = Site(net, OURS, settings=settings(trunks={"pbx": {**TRUNK, "allow_from": ["192.0.2.0/28"]}}))
    inside = a_call(net, site, Phone(net, user="ms"), authenticate=False)
    (session,) = site.room.calls
    assert session.identity == "trunk:pbx"
    assert acts(net, method, ("203.0.113.9", 5060), inside, user="ms") == 401
    assert session.peer_host == PHONE[0]
    assert site.room.names(session) == ["Confirmed"]


@pytest.mark.parametrize(
    "address", [("192.0.2.7", 5060), ("192.0.2.7", 40_000), ("192.0.2.14", 5060)], ids=["same", "port", "neighbour"]
)
def test_each_address_of_the_trunk_is_the_trunk(net, address):
    site = Site(net, OURS, settings=settings(trunks={"pbx": {**TRUNK, "allow_from": ["192.0.2.0/28"]}}))
    inside = a_call(net, site, Phone(net, user="ms"), authenticate=False)
    assert acts(net, "BYE", address, inside, user="ms") == 200


def test_from_an_unknown_address_the_trunk_may_prove_itself_by_its_password(net):
    site = Site(net, OURS, settings=settings(trunks={"pbx": {**TRUNK, "allow_from": ["192.0.2.0/28"]}}))
    inside = a_call(net, site, Phone(net, user="ms"), authenticate=False)
    assert acts(net, "BYE", ("203.0.113.9", 5060), inside, user="ms", password="pw-trunk") == 200


def test_a_user_with_a_good_password_is_not_the_trunk(net):
    site = Site(net, OURS, settings=settings(trunks={"pbx": {**TRUNK, "allow_from": ["192.0.2.0/28"]}}))
    inside = a_call(net, site, Phone(net, user="alice"), authenticate=False)
    assert acts(net, "BYE", ("203.0.113.9", 5060), inside, user="alice", password="pw-alice") == 401


def test_a_trunk_without_a_password_is_its_addresses_and_another_is_told_so(net, capsys):
    site = Site(net, OURS, settings=settings(trunks={"pbx": {"uri": "sip:192.0.2.50", "allow_from": ["192.0.2.0/28"]}}))
    inside = a_call(net, site, Phone(net, user="ms"), authenticate=False)
    assert acts(net, "BYE", ("203.0.113.9", 5060), inside, user="ms") == 403
    assert acts(net, "BYE", ("203.0.113.9", 5060), inside, user="ms", cseq=60) == 403
    assert capsys.readouterr().out.count("request in a dialog from another address") == 1


def test_a_trunk_that_came_in_by_digest_shares_its_address_with_others(net):
    site = Site(net, OURS, settings=settings(trunks={"pbx": TRUNK}))
    inside = a_call(net, site, Phone(net, user="ms", password="pw-trunk"))
    assert acts(net, "BYE", (PHONE[0], 40_000), inside, user="ms") == 401
    assert acts(net, "BYE", (PHONE[0], 40_001), inside, user="ms", password="pw-trunk") == 200


@pytest.mark.parametrize(
    ("address", "status"), [(("192.0.2.7", 5060), 200), (("192.0.2.7", 6000), 200), (("203.0.113.9", 5060), 403)]
)
def test_a_trunk_we_called_hangs_up_from_where_it_was_called(net, address, status):
    site = Site(net, OURS, settings=settings(trunks={"pbx": {"uri": "sip:192.0.2.7"}}))
    phone = Phone(net)
    session = site.call("+4930123", trunk="pbx")
    net.run(0.1)
    invite = phone.take("INVITE")
    answer = invite.response(200, to_tag="t1", headers=(("Contact", "<sip:192.0.2.7>"),), body=SDP_B)
    phone.send(OURS, answer)
    net.run(0.1)
    other = phone if address == PHONE else Phone(net, address)
    bye = other.request("BYE", "sip:alice@192.0.2.1", to=str(invite.from_))
    bye.headers.set("Call-ID", invite.call_id)
    other.clear()
    other.send(OURS, bye)
    net.run(0.1)
    assert other.take(f"SIP/2.0 {status}")
    assert session.ended == (status == 200)


def test_another_port_of_the_same_address_is_asked_for_the_users_password(net):
    site = Site(net, OURS, settings=settings())
    inside = a_call(net, site, Phone(net))
    (session,) = site.room.calls
    behind = (PHONE[0], 40_000)
    assert acts(net, "BYE", behind, inside, user="alice") == 401
    assert acts(net, "INFO", behind, inside, user="alice", password="pw-alice", cseq=60) == 200  # bound anew by a NAT
    assert session.dialog.flow.remote == behind


def over(flow: Flow, site: Site, net: Network, request: Request) -> list[str]:
    """First lines of what goes back on the flow itself."""
    site.ua.receive(request.to_bytes(), flow, net.now)
    return [send.data.split(b"\r\n")[0].decode() for send in site.ua.poll() if send.flow.connection == flow.connection]


@pytest.mark.parametrize(
    ("trunk", "flow", "first"),
    [
        ("", Flow("tcp", *PHONE, 7), "SIP/2.0 200 OK"),
        ("", Flow("tcp", *PHONE, 8), "SIP/2.0 401 Unauthorized"),
        ("", Flow("udp", *PHONE), "SIP/2.0 401 Unauthorized"),
        ("tcp", Flow("tcp", "192.0.2.7", 40_000, 8), "SIP/2.0 200 OK"),
        ("tls", Flow("tls", "192.0.2.7", 40_000, 8), "SIP/2.0 200 OK"),
        ("tls", Flow("udp", *PHONE), "SIP/2.0 403 Forbidden"),
    ],
)
def test_a_stream_is_its_connection_and_what_began_encrypted_is_not_ended_in_the_clear(net, trunk, flow, first):
    trunks = {"pbx": {"uri": "sip:192.0.2.50", "allow_from": ["192.0.2.0/28"]}} if trunk else {}
    site = Site(net, OURS, settings=settings(trunks=trunks))
    phone = Phone(net)
    inside = a_call(net, site, phone, authenticate=not trunk)
    (session,) = site.room.calls
    session.dialog.flow = Flow(trunk or "tcp", *PHONE, 7)
    phone.cseq = 50
    bye = phone.request("BYE", "sip:600@192.0.2.1", **inside)
    bye.headers.replace_first("Via", str(bye.headers.get("Via")).replace("UDP", flow.transport.upper()))
    assert over(flow, site, net, bye) == [first]


def test_an_answer_in_an_ack_counts_from_its_party_only(net):
    site = Site(net, OURS, settings=settings())
    site.room.on_call = lambda session: session.accept(SDP_B)
    phone = Phone(net)
    answer = phone.ask("INVITE", "sip:600@192.0.2.1", "Contact: <sip:alice@192.0.2.7>")  # no offer: ours is in the 200
    (session,) = site.room.calls
    phone.cseq -= 1
    ack = phone.request("ACK", "sip:600@192.0.2.1", to=str(answer.to), body=SDP_A)
    Phone(net, ("203.0.113.9", 5060)).send(OURS, ack)
    net.run(0.1)
    assert site.room.names(session) == []
    phone.send(OURS, ack)
    net.run(0.1)
    assert [event.sdp for event in site.room.events[session]] == [SDP_A]
