"""Candidates as text, where media may go, and credentials for TURN."""

import base64
import hashlib
import hmac

import pytest

from mediaserver.webrtc.candidates import Candidate, host_candidates
from mediaserver.webrtc.networks import PeerNetworks
from mediaserver.webrtc.turn import turn_credentials

CHROMIUM = (
    "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.5 rport 46154 generation 0 "
    "ufrag b5Jq network-id 1 network-cost 10"
)


def test_a_browsers_candidate_is_read() -> None:
    assert Candidate.parse(CHROMIUM) == Candidate("203.0.113.7", 46_154, "srflx", 1_677_729_535, "842163049")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:1 1 udp 2113937151 4f3c6c1e-9d9a-4b7e-8d6e-0b2f9a1c2d3e.local 50000 typ host",  # mDNS
        "1 2 udp 2113937151 192.0.2.1 50000 typ host",  # RTCP without mux
        "1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "1 1 udp 99999999999 192.0.2.1 50000 typ host",
        "1 1 udp 5 192.0.2.1 0 typ host",
        "1 1 udp 5 192.0.2.1 65536 typ host",
        "1 1 udp ² 192.0.2.1 5 typ host",
        "1 1 udp 5 192.0.2.1 5 kind host",
        "1 1 udp 5 192.0.2.1 5 typ teapot",
        "1 1 udp 5 server.example 5 typ host",
        "1 1 udp 5 192.0.2.1",
    ],
)
def test_what_is_of_no_use_is_none_and_no_error(text: str) -> None:
    assert Candidate.parse(text) is None


def test_ours_name_every_address_by_udp_first_and_then_by_tcp() -> None:
    found = host_candidates(["198.51.100.1", "10.0.0.1"], 8444, 8444)
    assert [str(candidate) for candidate in found] == [
        "1 1 udp 2130706431 198.51.100.1 8444 typ host",
        "2 1 udp 2130706175 10.0.0.1 8444 typ host",
        "3 1 tcp 1772093439 198.51.100.1 8444 typ host tcptype passive",
        "4 1 tcp 1772093183 10.0.0.1 8444 typ host tcptype passive",
    ]
    assert [c.transport for c in host_candidates(["::1"], 8444, 0)] == ["udp"]


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("192.0.2.1", 5000, True),
        ("127.0.0.1", 5000, True),
        ("2001:db8::1", 5000, True),
        ("224.0.0.1", 5000, False),
        ("255.255.255.255", 5000, False),
        ("0.0.0.0", 5000, False),
        ("ff02::1", 5000, False),
        ("::", 5000, False),
        ("::ffff:224.0.0.1", 5000, False),
        ("192.0.2.1", 0, False),
        ("somebody.local", 5000, False),
    ],
)
def test_media_goes_to_single_hosts_only(host: str, port: int, allowed: bool) -> None:
    assert PeerNetworks().allows(host, port) is allowed


def test_the_operators_networks_are_the_only_ones() -> None:
    networks = PeerNetworks(["10.0.0.0/8", "2001:db8::/32"])
    assert networks.allows("10.1.2.3", 1)
    assert networks.allows("2001:db8::9", 1)
    assert networks.allows("::ffff:10.1.2.3", 1)
    assert not networks.allows("192.0.2.1", 1)
    assert networks.allows_check("10.1.2.3", 1, "192.0.2.1")
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        PeerNetworks(["10.0.0.0/99"])


def test_nobody_has_us_knock_at_our_own_doors() -> None:
    networks = PeerNetworks()
    assert not networks.allows_check("127.0.0.1", 80, "192.0.2.1")
    assert not networks.allows_check("::1", 80, "2001:db8::1")
    assert not networks.allows_check("169.254.169.254", 80, "192.0.2.1")
    assert networks.allows_check("127.0.0.1", 80, "127.0.0.1")
    assert networks.allows_check("10.0.0.1", 80, "192.0.2.1")


def test_turn_credentials_are_a_time_a_name_and_their_signature() -> None:
    made = turn_credentials("north", "anna:smith", 1_700_000_000.9, 600)
    assert made.username == "1700000600:anna_smith"
    digest = hmac.new(b"north", made.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(made.password) == digest
    assert made.password not in repr(made)
