"""Recording sessions at the SIP level: who may ask for one, what is answered, how metadata arrives. RFC 7866 §6, §9."""

from __future__ import annotations

from mediaserver.settings import Settings
from mediaserver.sip.session import Confirmed, MetadataReceived, Reoffer
from tests.support.sip_calls import OURS, THEIRS, TRUSTED, IncomingCall, OutgoingCall, request
from tests.support.sip_net import SDP_A, SDP_B, Network, Script, Site

CLIENT = Settings.model_validate(
    {
        "server": {"realm": "home"},
        "trunks": {"sbc": {"uri": "sip:192.0.2.7", "allow_from": ["192.0.2.7"], "siprec_policy": "declared-by-client"}},
    }
)
METADATA = b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"/>'
MIXED = "Content-Type: multipart/mixed;boundary=b"
BOTH = (
    b"--b\r\nContent-Type: application/sdp\r\n\r\n"
    + SDP_A
    + b"\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\n"
    b"Content-Disposition: recording-session\r\n\r\n" + METADATA + b"\r\n--b--\r\n"
)


def test_without_a_recording_client_the_extension_is_unknown():
    net = Network()
    Site(net, OURS, settings=TRUSTED)
    peer = Script(net, THEIRS)
    peer.send(OURS, request("INVITE", 1, "Require: siprec", MIXED, body=BOTH))
    net.run(0.1)
    assert peer.take("SIP/2.0 420").headers.get("Unsupported") == "siprec"


def test_the_session_knows_what_it_is_and_the_answer_says_that_a_recording_server_gives_it():
    call = IncomingCall(sdp=BOTH, settings=CLIENT, lines=("Require: siprec", MIXED))
    assert call.session.siprec
    assert call.session.metadata == METADATA.replace(b"\r\n", b"\n")
    assert call.session.remote_sdp.startswith(b"v=0")
    call.session.accept(SDP_B)
    call.net.run(0.05)
    (contact,) = call.peer.take("SIP/2.0 200").contacts
    assert contact.param("+sip.srs") is not None


def test_an_ordinary_call_from_the_same_trunk_is_none():
    call = IncomingCall(settings=CLIENT)
    assert not call.session.siprec
    assert call.session.metadata is None
    call.session.accept(SDP_B)
    call.net.run(0.05)
    assert call.peer.take("SIP/2.0 200").contacts[0].param("+sip.srs") is None


def test_metadata_comes_later_by_update_alone_and_with_an_offer():
    call = IncomingCall(sdp=BOTH, settings=CLIENT, lines=("Require: siprec", MIXED)).established()
    call.send("UPDATE", 2, "Content-Type: application/rs-metadata+xml", body=METADATA)
    assert call.peer.take("SIP/2.0 200").body == b""
    call.send("INVITE", 3, "Require: siprec", MIXED, body=BOTH)
    assert call.events[:2] == [Confirmed(), MetadataReceived(METADATA)]
    reoffer = call.events[2]
    assert isinstance(reoffer, Reoffer)
    assert reoffer.sdp.startswith(b"v=0")
    assert reoffer.metadata == METADATA
    assert "recording" not in repr(reoffer)


def test_a_phone_says_in_its_invite_or_its_answer_that_it_shows_recording():
    aware, unaware = IncomingCall(lines=("Supported: timer, record-aware",)), IncomingCall(lines=("Supported: timer",))
    assert (aware.session.record_aware, unaware.session.record_aware) == (True, False)
    for headers, expected in (([("Supported", "record-aware")], True), ([], False)):
        call = OutgoingCall()
        call.answer(200, sdp=SDP_B, headers=headers)
        assert call.session.record_aware is expected
