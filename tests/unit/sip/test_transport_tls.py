"""sip.transport on loopback sockets: TLS both ways, and certificates that cannot be used."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from mediaserver.errors import ConfigError
from mediaserver.settings import SipSettings
from mediaserver.sip.events import IncomingRequest, TransactionTransportError
from mediaserver.sip.flow import Flow
from mediaserver.sip.sockets import server_tls
from tests.unit.sip.transport_rig import (
    LOOPBACK,
    running,
    tls_settings,
    until,
)


async def test_tls_is_answered_and_opened_on_demand(certificate: tuple[Path, Path]) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    options: dict[str, Any] = {"ports": {"tls": 0}, "client_tls": trusting}
    async with (
        running(tls_settings(certificate), **options) as one,
        running(tls_settings(certificate), **options) as two,
    ):
        port = two.transport.ports["tls"]
        one.ask(Flow("tls", "localhost", port))
        event = await two.event(IncomingRequest)
        assert event.flow.transport == "tls"
        assert event.request.top_via.transport == "TLS"
        await until(lambda: one.transport.counters.responses_in["2xx"] == 1)
        one.ask(Flow("tls", LOOPBACK, port))
        await until(lambda: one.transport.counters.responses_in["2xx"] == 2)


async def test_a_tls_server_that_cannot_prove_itself_gets_nothing(certificate: tuple[Path, Path]) -> None:
    async with (
        running(tls_settings(certificate), ports={"tls": 0}) as one,
        running(tls_settings(certificate), ports={"tls": 0}) as two,
    ):
        one.ask(Flow("tls", "localhost", two.transport.ports["tls"]))
        failed = await one.event(TransactionTransportError)
        assert failed.reason == "connect"
        assert two.events == []


def test_a_certificate_that_cannot_be_used_is_an_error_that_names_the_setting(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    assert server_tls(tls_settings(certificate)).minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(ConfigError, match=r"sip\.certificate: .*none\.pem"):
        server_tls(tls_settings((tmp_path / "none.pem", certificate[1])))
    with pytest.raises(ConfigError, match=r"sip\.certificate"):
        server_tls(tls_settings((certificate[1], certificate[0])))
    with pytest.raises(ConfigError, match=r"sip\.tls_port"):
        server_tls(SipSettings())
