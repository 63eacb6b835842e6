"""The user agent as a server: who may register and call, what it refuses, trunks, drain. RFC 3261 §8, §10, §22."""

from __future__ import annotations

import pytest

from mediaserver.errors import ConfigError
from mediaserver.settings import Settings
from mediaserver.sip.auth import make_credentials
from mediaserver.sip.auth_client import CHALLENGE_HEADER, ClientCredentials, DigestClient
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Headers, Request, Response
from mediaserver.sip.parser import parse_message
from tests.support.sip_net import NO_LEAKS, SDP_A, SDP_B, Network, Script, Site, Users, entropy_from

OURS, PHONE, NATTED = ("192.0.2.1", 5060), ("192.0.2.7", 5060), ("203.0.113.9", 40000)


def settings(**sections) -> Settings:
    return Settings.model_validate({"server": {"realm": "home"}, **sections})


class Phone(Script):
    """A user's phone with its credentials: sends a request and answers the challenge."""

    def __init__(self, network: Network, address=PHONE, user: str = "alice", password: str | None = None) -> None:
        super().__init__(network, address)
        self.user = user
        self.digest = DigestClient(ClientCredentials(user, password or f"pw-{user}"), entropy=entropy_from(5))
        self.cseq = 0

    def request(
        self, method: str, uri: str, *lines: str, body: bytes = b"", call_id: str = "c1", from_: str = "", to: str = ""
    ) -> Request:
        self.cseq += 1
        head = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch=z9hG4bK{self.user}{self.cseq}{method};rport",
            f"From: {from_ or f'<sip:{self.user}@home>'};tag=t1",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {self.user}-{call_id}",
            f"CSeq: {self.cseq} {method}",
            "Max-Forwards: 70",
            *(["Content-Type: application/sdp"] if body and not any("Content-Type" in line for line in lines) else []),
            *lines,
            f"Content-Length: {len(body)}",
            "",
            "",
        ]
        return parse_message("\r\n".join(head).encode() + body)

    def ask(self, method: str, uri: str, *lines: str, authenticate: bool = True, **more) -> Response | None:
        """The final response to a request, sent again with credentials when challenged; None: silence."""
        for _ in range(2):
            request = self.request(method, uri, *lines, **more)
            if authenticate:
                for name, value in self.digest.headers(method, uri):
                    request.headers.add(name, value)
            self.clear()
            self.send(OURS, request)
            self.network.run(0.1)
            answers = [m for m in self.inbox if isinstance(m, Response) and m.status >= 200 and m.cseq == request.cseq]
            if not answers:
                return None
            status = answers[0].status
            if method == "INVITE" and status >= 300:
                ack = [(n, v) for n, v in request.headers.items() if n in ("Via", "From", "Call-ID")]
                ack += [("To", str(answers[0].to)), ("CSeq", f"{request.cseq.number} ACK"), ("Max-Forwards", "70")]
                self.send(OURS, Request(headers=Headers(ack), method="ACK", uri=uri))
                self.network.run(0.05)
            if status not in CHALLENGE_HEADER or not authenticate:
                break
            if not self.digest.take(status, answers[0].headers.all(CHALLENGE_HEADER[status])):
                break
        return answers[0]

    def register(self, *lines: str, **more) -> Response | None:
        contact = f"Contact: <sip:{self.user}@{self.address[0]}:{self.address[1]}>;expires=600"
        return self.ask("REGISTER", "sip:home", *(lines or (contact,)), to=f"<sip:{self.user}@home>", **more)

    def invite(self, number: str = "600", **more) -> Response | None:
        contact = f"Contact: <sip:{self.user}@{self.address[0]}:{self.address[1]}>"
        return self.ask("INVITE", f"sip:{number}@192.0.2.1", contact, body=SDP_A, **more)


@pytest.fixture
def net() -> Network:
    return Network()


@pytest.fixture
def site(net) -> Site:
    site = Site(net, OURS, settings=settings())
    site.room.on_call = lambda session: session.accept(SDP_B)
    return site


# -- REGISTER


def test_a_phone_registers_by_digest_and_can_be_called(net, site):
    phone = Phone(net)
    answer = phone.register()
    assert answer.status == 200
    assert answer.headers.get("Contact") == "<sip:alice@192.0.2.7:5060>;expires=600"
    (target,) = site.ua.contacts("alice")
    site.call(target, caller_user="bob")
    net.run(0.1)
    invite = phone.take("INVITE")
    assert invite.uri == "sip:alice@192.0.2.7:5060"
    assert str(invite.to.uri) == "sip:alice@home"


def test_without_credentials_a_register_is_challenged_and_changes_nothing(net, site):
    answer = Phone(net).register(authenticate=False)
    assert answer.status == 401
    assert len(answer.headers.all("WWW-Authenticate")) == 2
    assert site.ua.contacts("alice") == []


def test_a_wrong_password_and_an_unknown_user_look_the_same(net, site):
    wrong = Phone(net, password="no").register()
    unknown = Phone(net, ("192.0.2.8", 5060), "mallory").register()
    assert wrong.status == unknown.status == 401
    assert [n for n, _ in wrong.headers.items()] == [n for n, _ in unknown.headers.items()]
    assert site.ua.authenticator.failed == 2


def test_nobody_registers_another_user(net, site):
    phone = Phone(net)
    answer = phone.ask("REGISTER", "sip:home", "Contact: <sip:x@h>", to="<sip:bob@home>")
    assert answer.status == 403
    assert site.ua.contacts("bob") == []


def test_contacts_tell_an_unknown_user_from_one_without_phone(site):
    assert site.ua.contacts("nobody") is None
    assert site.ua.contacts("bob") == []


def test_a_phone_behind_nat_is_called_where_its_register_came_from(net, site):
    phone = Phone(net, NATTED)
    assert phone.register("Contact: <sip:alice@10.0.0.5:5060>;expires=600").status == 200
    (target,) = site.ua.contacts("alice")
    session = site.call(target, caller_user="bob")
    net.run(0.1)
    invite = phone.take("INVITE")
    assert invite.uri == "sip:alice@10.0.0.5:5060"
    phone.answer(invite, 200, sdp=SDP_B, contact=False, headers=[("Contact", "<sip:alice@10.0.0.5:5060>")])
    net.run(0.1)
    assert phone.take("ACK").uri == "sip:alice@10.0.0.5:5060"
    session.hang_up()
    net.run(0.1)
    assert phone.has("BYE")


def test_a_path_of_the_register_becomes_the_route_of_the_call(net, site):
    phone = Phone(net)
    phone.register("Path: <sip:192.0.2.7:5060;lr>", "Contact: <sip:alice@10.0.0.5>;expires=600")
    site.call(site.ua.contacts("alice")[0], caller_user="bob")
    net.run(0.1)
    assert phone.take("INVITE").headers.get("Route") == "<sip:192.0.2.7:5060;lr>"


def test_a_binding_that_lapses_between_look_up_and_call_fails_as_480(net, site):
    Phone(net).register()
    (target,) = site.ua.contacts("alice")
    net.run(601)
    session = site.call(target, caller_user="bob")
    net.run(0.1)
    assert site.room.events[session][0].status == 480
    assert site.ua.contacts("alice") == []


def test_with_domains_set_other_names_are_not_ours(net):
    site = Site(net, OURS, settings=settings(sip={"domains": ["office.example"]}))
    phone = Phone(net)
    assert phone.ask("REGISTER", "sip:x", "Contact: <sip:a@h>", to="<sip:alice@elsewhere.example>").status == 404
    assert phone.ask("REGISTER", "sip:x", "Contact: <sip:a@h>", to="<sip:alice@Office.Example>").status == 200
    assert phone.ask("REGISTER", "sip:x", "Contact: <sip:a@h2>", to="<sip:alice@192.0.2.1>").status == 200
    assert len(site.ua.contacts("alice")) == 2


def test_a_closed_connection_takes_its_browsers_with_it(net, site):
    flow = Flow("tcp", "203.0.113.9", 50000, 4, *OURS)
    phone = Phone(net)
    request = phone.request("REGISTER", "sip:home", "Contact: <sip:x@k.invalid;transport=ws>", to="<sip:alice@home>")
    site.ua.receive(request.to_bytes(), flow, net.now)
    challenge = parse_message(site.ua.poll()[0].data)
    phone.digest.take(401, challenge.headers.all("WWW-Authenticate"))
    request = phone.request("REGISTER", "sip:home", "Contact: <sip:x@k.invalid;transport=ws>", to="<sip:alice@home>")
    for name, value in phone.digest.headers("REGISTER", "sip:home"):
        request.headers.add(name, value)
    site.ua.receive(request.to_bytes(), flow, net.now)
    site.ua.poll()
    assert len(site.ua.contacts("alice")) == 1
    site.ua.flow_closed(flow, net.now)
    site.ua.poll()
    assert site.ua.contacts("alice") == []


# -- INVITE


def test_an_unauthenticated_invite_never_reaches_the_call_room(net, site):
    assert Phone(net).invite(authenticate=False).status == 401
    assert Phone(net, ("192.0.2.8", 5060), password="wrong").invite(call_id="c2").status == 401
    assert site.room.calls == []


def test_a_user_calls_as_himself_whatever_his_from_says(net, site):
    Phone(net).invite(from_='"The Boss" <sip:boss@home>')
    (session,) = site.room.calls
    assert (session.identity, session.caller_user, session.caller_name) == ("alice", "alice", "Alice")


@pytest.mark.parametrize(("kept", "shown"), [("Alice Adams", "Alice Adams"), ("", "Police")])
def test_the_name_the_server_has_of_a_user_outranks_what_his_phone_says(net, kept, shown):
    directory = Users({"alice": make_credentials("alice", "home", "pw-alice", kept)})
    site = Site(net, OURS, settings=settings(), directory=directory)
    Phone(net).invite(from_='"Police" <sip:alice@anything>')
    assert site.room.calls[0].caller_name == shown


def test_too_many_failures_meet_silence_and_leave_no_transaction(net):
    site = Site(net, OURS, settings=settings(sip={"failed_auth_per_source_per_min": 2}))
    phone = Phone(net, password="wrong")
    for _ in range(2):
        assert phone.invite(call_id=str(phone.cseq)).status == 401
        phone.digest.forget()
    assert phone.invite(call_id="x") is None
    assert phone.register(call_id="y") is None
    assert site.ua.authenticator.silenced >= 2
    net.run(40)
    assert site.leaks() == NO_LEAKS
    net.run(20)
    assert Phone(net, PHONE).register().status == 200


def test_broken_credentials_are_a_bad_request(net, site):
    phone = Phone(net)
    answer = phone.ask(
        "REGISTER", "sip:home", 'Authorization: Digest username="a', to="<sip:alice@home>", authenticate=False
    )
    assert answer.status == 400


def test_a_drained_server_sends_new_calls_away_and_keeps_running_ones(net, site):
    phone = Phone(net)
    assert phone.invite().status == 200
    session = site.room.calls[0]
    site.ua.draining = True
    refused = phone.invite(call_id="c2")
    assert (refused.status, refused.headers.get("Retry-After")) == (503, "10")
    assert phone.ask("OPTIONS", "sip:192.0.2.1", call_id="c3").status == 503
    assert site.ua.inbound.refused_draining == 1
    assert phone.register(call_id="c4").status == 200
    assert site.ua.sessions == (session,)


def test_over_max_calls_is_503(net):
    site = Site(net, OURS, settings=settings(sip={"max_calls": 2}))
    phone = Phone(net)
    for i in range(2):
        phone.invite(call_id=f"c{i}")
    assert len(site.room.calls) == 2
    refused = phone.invite(call_id="c9")
    assert (refused.status, refused.headers.get("Retry-After")) == (503, "10")
    site.room.calls[0].hang_up()
    phone.invite(call_id="c10")
    assert len(site.room.calls) == 3


def test_a_call_room_that_raises_on_a_call_answers_500(net, site):
    def fail(session):
        raise RuntimeError("bug")

    site.room.on_call = fail
    assert Phone(net).invite().status == 500
    net.run(40)
    assert site.ua.sessions == ()


def test_a_number_with_an_unknown_scheme_is_416(net, site):
    phone = Phone(net)
    assert phone.ask("INVITE", "news:comp.sip", "Contact: <sip:a@h>", to="<sip:x@y>").status == 416
    assert phone.ask("INVITE", "tel:+4930", "Contact: <sip:a@h>", to="<sip:x@y>", call_id="t").status == 200
    assert site.room.calls[0].called_user == "+4930"


# -- everything else


def test_options_tells_what_we_do_without_asking_who_wants_to_know(net, site):
    answer = Phone(net).ask("OPTIONS", "sip:192.0.2.1", authenticate=False)
    assert answer.status == 200
    assert "REGISTER" in answer.headers.get("Allow")
    assert "application/sdp" in answer.headers.get("Accept")


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("MESSAGE", 405),
        ("SUBSCRIBE", 405),
        ("PUBLISH", 405),
        ("FROB", 501),
        ("BYE", 481),
        ("INFO", 481),
        ("NOTIFY", 481),
    ],
)
def test_what_we_do_not_serve_has_its_own_answer(net, site, method, status):
    answer = Phone(net).ask(method, "sip:600@192.0.2.1")
    assert answer.status == status
    assert ("Allow" in answer.headers) is (status in (405, 501))


def test_a_phones_quality_report_is_taken_from_who_proves_himself(net, site):
    taken = []
    site.ua.inbound.on_quality_report = lambda identity, body: taken.append((identity, body)) or b"VQ" in body
    publish = ("Event: vq-rtcpxr", "Content-Type: application/vq-rtcpxr")
    phone = Phone(net)
    assert phone.ask("PUBLISH", "sip:192.0.2.1", *publish, body=b"VQSessionReport", authenticate=False).status == 401
    assert taken == []
    assert phone.ask("PUBLISH", "sip:192.0.2.1", *publish, body=b"VQSessionReport", call_id="p2").status == 200
    assert taken == [("alice", b"VQSessionReport")]
    assert phone.ask("PUBLISH", "sip:192.0.2.1", *publish, body=b"rubbish", call_id="p3").status == 400
    presence = phone.ask("PUBLISH", "sip:192.0.2.1", "Event: presence", body=b"x", call_id="p4")
    assert (presence.status, presence.headers.get("Allow-Events")) == (489, "vq-rtcpxr")
    wrong = phone.ask(
        "PUBLISH", "sip:192.0.2.1", "Event: vq-rtcpxr", "Content-Type: text/plain", body=b"x", call_id="p5"
    )
    assert wrong.status == 415


def test_a_report_by_notify_is_taken_likewise_and_other_notifies_belong_to_a_dialog(net, site):
    taken = []
    site.ua.inbound.on_quality_report = lambda identity, body: taken.append((identity, body)) or True
    notify = ("Event: vq-rtcpxr", "Subscription-State: active", "Content-Type: application/vq-rtcpxr")
    phone = Phone(net)
    assert phone.ask("NOTIFY", "sip:192.0.2.1", *notify, body=b"VQ", authenticate=False).status == 401
    answer = phone.ask("NOTIFY", "sip:192.0.2.1", *notify, body=b"VQSessionReport", call_id="n2")
    assert (answer.status, "SIP-ETag" in answer.headers) == (200, False)
    assert taken == [("alice", b"VQSessionReport")]
    assert phone.ask("NOTIFY", "sip:192.0.2.1", "Event: refer", body=b"x", call_id="n3").status == 481


def test_a_request_for_a_dialog_we_do_not_know_is_481(net, site):
    for method in ("INVITE", "BYE", "OPTIONS", "UPDATE"):
        answer = Phone(net).ask(method, "sip:600@192.0.2.1", "Contact: <sip:a@h>", to="<sip:600@home>;tag=gone")
        assert answer.status == 481


# -- trunks

TRUNK = {"uri": "sip:192.0.2.50:5070", "username": "ms", "password": "pw-trunk"}


def test_a_trunk_is_known_by_its_address(net):
    site = Site(
        net, OURS, settings=settings(trunks={"pbx": {**TRUNK, "allow_from": ["192.0.2.0/28", "2001:db8::/32"]}})
    )
    phone = Phone(net, user="+4930123")
    phone.invite(authenticate=False)
    (session,) = site.room.calls
    assert (session.identity, session.caller_user) == ("trunk:pbx", "+4930123")
    far = Phone(net, ("192.0.2.99", 5060))
    assert far.invite(authenticate=False).status == 401


def test_a_trunk_is_known_by_its_digest(net):
    site = Site(net, OURS, settings=settings(trunks={"pbx": TRUNK}))
    phone = Phone(net, user="ms", password="pw-trunk")
    phone.invite(from_="<sip:+4930123@carrier>")
    (session,) = site.room.calls
    assert (session.identity, session.caller_user) == ("trunk:pbx", "+4930123")


def test_a_trunk_cannot_register_as_a_user(net):
    Site(net, OURS, settings=settings(trunks={"pbx": TRUNK}))
    assert Phone(net, user="ms", password="pw-trunk").register().status == 401


@pytest.mark.parametrize(
    ("trunk", "word"),
    [
        ({"uri": "pbx"}, "trunks.pbx.uri"),
        ({"uri": "tel:+49"}, "trunks.pbx.uri"),
        ({"uri": "sip:pbx", "allow_from": ["pbx.example"]}, "trunks.pbx.allow_from"),
        ({"uri": "sip:pbx", "register_with_peer": True}, "register_with_peer"),
    ],
)
def test_a_trunk_that_makes_no_sense_is_refused_by_name(net, trunk, word):
    with pytest.raises(ConfigError, match=word):
        Site(net, OURS, settings=settings(trunks={"pbx": trunk}))


def test_stopping_hangs_up_every_call(net, site):
    phone = Phone(net)
    phone.invite()
    phone.send(OURS, phone.request("ACK", "sip:600@192.0.2.1"))
    site.ua.stop()
    net.run(0.1)
    assert site.ua.sessions == ()
    assert site.ua.draining


def test_nothing_secret_or_personal_is_logged(net, site, capsys):
    phone = Phone(net)
    phone.register()
    phone.invite(number="+4915112345678", from_='"Geheim Name" <sip:alice@home>')
    Phone(net, ("192.0.2.8", 5060), password="wrong").invite(number="+4915187654321")
    site.call("sip:+4915199999999@192.0.2.7", caller_user="+493012345")
    net.run(0.5)
    logged = capsys.readouterr().out
    assert "call arrives" in logged
    for secret in (
        "pw-alice",
        "4915112345678",
        "4915187654321",
        "4915199999999",
        "493012345",
        "Geheim",
        "v=0",
        "nonce",
    ):
        assert secret not in logged


# -- who may act in a dialog


@pytest.mark.parametrize("method", ["BYE", "INVITE", "INFO"])
def test_who_knows_a_dialogs_tags_and_comes_from_elsewhere_must_prove_who_he_is(net, site, method):
    phone = Phone(net)
    answer = phone.invite()
    phone.cseq -= 1  # an ACK has its INVITE's
    phone.send(OURS, phone.request("ACK", "sip:600@192.0.2.1", to=str(answer.to)))
    net.run(0.1)
    (session,) = site.room.calls
    body = {"body": SDP_A} if method == "INVITE" else {}
    inside = {"to": str(answer.to), **body}
    contact = "Contact: <sip:alice@203.0.113.9:5060>"
    thief = Phone(net, ("203.0.113.9", 5060), password="a guess")
    thief.cseq = 10
    assert thief.ask(method, "sip:600@192.0.2.1", contact, **inside).status == 401
    assert session.peer_host == PHONE[0]
    assert site.room.names(session) == ["Confirmed"]
    moved = Phone(net, ("203.0.113.8", 5060))  # from Wi-Fi to a mobile network
    moved.cseq = 20
    if method == "INVITE":
        session.on_event = lambda event: session.answer_reoffer(SDP_B)
    assert moved.ask(method, "sip:600@192.0.2.1", contact, **inside).status == 200
    assert session.peer_host == "203.0.113.8"


def test_a_cancel_comes_the_way_its_invite_came(net, site):
    site.room.on_call = lambda session: session.ring()
    phone = Phone(net)
    phone.digest.take(
        401, phone.ask("OPTIONS", "sip:600@192.0.2.1", authenticate=False).headers.all("WWW-Authenticate")
    )
    thief = Script(net, ("203.0.113.9", 5060))
    assert phone.invite() is None  # it rings
    (session,) = site.room.calls
    invite = net.sent(PHONE, "INVITE")[-1]
    cancel = [(n, v) for n, v in invite.headers.items() if n in ("Via", "From", "To", "Call-ID", "Max-Forwards")]
    cancel = Headers([*cancel, ("CSeq", f"{invite.cseq.number} CANCEL")])
    thief.send(OURS, Request(headers=cancel, method="CANCEL", uri=invite.uri))
    net.run(0.1)
    assert site.room.names(session) == []
    phone.send(OURS, Request(headers=cancel, method="CANCEL", uri=invite.uri))
    net.run(0.1)
    assert "Cancelled" in site.room.names(session)
