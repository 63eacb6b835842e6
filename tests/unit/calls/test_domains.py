"""Calls to other hosts are refused; every name and address of ours is answered."""

from __future__ import annotations

import pytest

from mediaserver.calls.domains import is_our_host
from mediaserver.settings import Settings
from tests.unit.calls.stage import Stage

TRUNK = (
    '[[route]]\nname="out"\nnumber="9*"\ntrunk="carrier"\nstrip=1\n[[route]]\nname="e"\nnumber="600"\nprogram="echo"\n'
)


async def test_a_call_to_another_host_is_refused_and_nothing_goes_out(stage: Stage) -> None:
    await stage.start(TRUNK)
    for number in ("600", "9128"):
        for host in ("evil.example", "192.0.2.99", "[2001:db8::1]"):
            session = await stage.call(number, uri=f"sip:{number}@{host}")
            assert [what[:2] for what in session.did] == [("reject", 404)]
    assert stage.gateway.sessions == []


@pytest.mark.parametrize("uri", ["sip:600@PBX.example", "sip:600@127.0.0.1:5070;transport=tcp", "tel:600"])
async def test_a_call_to_our_realm_our_address_or_to_no_host_is_answered(stage: Stage, uri: str) -> None:
    assert "accept" in (await stage.call("600", uri=uri)).names()


async def test_a_trunk_may_write_any_address_but_no_foreign_name(stage: Stage) -> None:
    carrier = await stage.call("600", identity="trunk:carrier", uri="sip:600@198.51.100.7")
    assert "accept" in carrier.names()
    stray = await stage.call("600", identity="trunk:carrier", uri="sip:600@evil.example")
    assert stray.did[-1][:2] == ("reject", 404)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("home.example", True),
        ("Home.Example.", True),
        ("second.example", True),
        ("203.0.113.5", True),
        ("192.168.7.7", True),
        ("2001:DB8:0:0::9", True),
        ("localhost", True),
        ("127.0.0.3", True),
        ("0.0.0.0", False),
        ("203.0.113.6", False),
        ("home.example.evil.example", False),
        ("", False),
    ],
)
def test_our_hosts_are_realm_domains_and_addresses_of_ours(host: str, ours: bool) -> None:
    settings = Settings.model_validate(
        {
            "server": {"realm": "home.example"},
            "sip": {"host": "192.168.7.7", "domains": ["second.example"], "external_host": "203.0.113.5"},
        }
    )
    assert is_our_host(host, settings, ["2001:db8::9"]) is ours
