"""Our registration with a trunk: kept up, retried, ended. RFC 3261 §10.2."""

from __future__ import annotations

import pytest

from mediaserver.settings import Settings
from mediaserver.sip import digest
from mediaserver.sip.trunk_register import TrunkRegistration
from tests.support.sip_net import MS, NO_LEAKS, Network, S, Script, Site

OURS, TRUNK = ("192.0.2.1", 5060), ("192.0.2.50", 5070)
SETTINGS = Settings.model_validate(
    {
        "server": {"realm": "home"},
        "trunks": {
            "carrier": {"uri": "sip:192.0.2.50:5070", "username": "ms", "password": "s3", "register_with_peer": True},
            "quiet": {"uri": "sip:192.0.2.60"},
        },
    }
)


class Carrier(Script):
    def __init__(self) -> None:
        self.net = Network()
        self.site = Site(self.net, OURS, settings=SETTINGS)
        super().__init__(self.net, TRUNK)
        self.site.ua.start()
        self.net.run(0.05)

    @property
    def registration(self) -> TrunkRegistration:
        return self.site.ua.registrations["carrier"]

    def reply(self, status: int, **more) -> None:
        self.answer(self.take("REGISTER"), status, contact=False, **more)
        self.clear()
        self.net.run(0.05)

    def grant(self, expires_s: int) -> None:
        self.reply(200, headers=[("Contact", f"<sip:ms@192.0.2.1:5060>;expires={expires_s}")])

    def silent_for(self, ns: int) -> bool:
        self.net.run_until(self.net.now + ns)
        return not self.has("REGISTER")


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


def test_only_trunks_that_want_it_are_registered_with(carrier):
    assert list(carrier.site.ua.registrations) == ["carrier"]
    register = carrier.take("REGISTER")
    assert register.uri == "sip:192.0.2.50:5070"
    assert str(register.to.uri) == "sip:ms@192.0.2.50"
    assert register.headers.get("Contact") == "<sip:ms@192.0.2.1:5060>;expires=3600"


def test_a_challenge_is_answered_and_the_registration_stands(carrier):
    carrier.reply(401, headers=[("WWW-Authenticate", digest.Challenge("carrier", "n1", "SHA-256").encode())])
    again = carrier.take("REGISTER")
    assert "SHA-256" in again.headers.get("Authorization")
    assert again.cseq.number == 2
    carrier.answer(again, 200, contact=False, headers=[("Expires", "600")])
    carrier.net.run(0.05)
    assert carrier.registration.registered


def test_it_is_renewed_well_before_it_lapses(carrier):
    carrier.grant(600)
    granted_ns = carrier.net.now - 40 * MS  # the answer travelled 10 ms of the 50 that were run
    due_ns = granted_ns + 480 * S
    assert carrier.silent_for(due_ns - 1 - carrier.net.now + 10 * MS)
    carrier.net.run_until(due_ns + 20 * MS)
    renewal = carrier.take("REGISTER")
    assert "Authorization" not in renewal.headers
    assert carrier.registration.registered


def test_the_seconds_of_our_own_contact_count_among_others(carrier):
    headers = [("Contact", "<sip:x@y>;expires=3000, <sip:ms@192.0.2.1:5060>;expires=100"), ("Expires", "2000")]
    carrier.reply(200, headers=headers)
    assert carrier.silent_for(79 * S)
    assert not carrier.silent_for(2 * S)


@pytest.mark.parametrize("expires", ["0", "-5", "soon", "1"])
def test_a_trunk_cannot_make_us_register_without_pause(carrier, expires):
    carrier.reply(200, headers=[("Contact", f"<sip:ms@192.0.2.1:5060>;expires={expires}")])
    assert carrier.silent_for(7 * S)


def test_a_minimum_of_the_trunk_is_kept(carrier):
    carrier.reply(423, headers=[("Min-Expires", "7200")])
    assert carrier.take("REGISTER").headers.get("Expires") == "7200"


def test_failures_are_retried_with_growing_patience(carrier):
    waits = []
    for _ in range(9):
        carrier.reply(503)
        failed_ns = carrier.net.now
        while carrier.silent_for(100 * MS):
            pass
        waits.append((carrier.net.now - failed_ns) / S)
    expected = [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert all(0.79 * e <= wait <= e + 0.2 for e, wait in zip(expected, waits, strict=True))
    assert not carrier.registration.registered


def test_silence_is_a_failure_too(carrier):
    carrier.clear()
    carrier.net.run(32.1)
    carrier.clear()
    carrier.net.run(5)
    assert carrier.has("REGISTER")


def test_wrong_credentials_are_not_hammered(carrier):
    carrier.reply(401, headers=[("WWW-Authenticate", digest.Challenge("c", "n1", "MD5").encode())])
    carrier.reply(401, headers=[("WWW-Authenticate", digest.Challenge("c", "n2", "MD5").encode())])
    assert carrier.silent_for(3 * S)
    assert not carrier.silent_for(3 * S)


def test_a_lapsed_registration_says_so(carrier):
    carrier.grant(100)
    carrier.net.run(81)
    assert carrier.registration.registered
    carrier.net.run(20)
    assert not carrier.registration.registered


def test_stopping_unregisters_and_leaves_nothing(carrier):
    carrier.grant(600)
    carrier.site.ua.stop()
    carrier.net.run(0.05)
    last = carrier.take("REGISTER")
    assert (last.headers.get("Expires"), last.headers.get("Contact")) == ("0", "<sip:ms@192.0.2.1:5060>;expires=0")
    carrier.answer(last, 200, contact=False)
    carrier.net.run(60)
    assert carrier.site.leaks() == NO_LEAKS
