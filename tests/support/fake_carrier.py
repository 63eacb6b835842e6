"""The far end of a `WebSession` without a network: keeps what it was told."""

from __future__ import annotations

from typing import Any

from mediaserver.calls.web_session import WebSession


class FakeCarrier:
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def names(self) -> list[str]:
        return [str(what[0]) for what in self.told]

    def ringing(self, status: int, sdp: bytes | None) -> None:
        self.told.append(("ringing", status, sdp))

    def accepted(self, sdp: bytes) -> None:
        self.told.append(("accepted", sdp))

    def offered(self, sdp: bytes) -> None:
        self.told.append(("offered", sdp))

    def answered(self, sdp: bytes) -> None:
        self.told.append(("answered", sdp))

    def refused(self, status: int) -> None:
        self.told.append(("refused", status))

    def transfer(self, status: int, reason: str) -> None:
        self.told.append(("transfer", status))

    def over(self, status: int, reason: str) -> None:
        self.told.append(("over", status))


def web_session(
    carrier: FakeCarrier,
    sdp: bytes | None,
    *,
    called: str = "600",
    incoming: bool = True,
    identity: str | None = "ann",
    takes_offers: bool = True,
) -> WebSession:
    return WebSession(
        carrier,
        incoming=incoming,
        call_id="web-1",
        request_uri=f"sip:{called}@pbx.example",
        called_user=called,
        caller_user=identity or "guest",
        identity=identity,
        local_host="127.0.0.1",
        remote_sdp=sdp,
        takes_offers=takes_offers,
    )
