"""The same messages on a data channel: about the one leg it belongs to, and nothing a token would be needed for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mediaserver.api.leg_channel import LegChannels
from mediaserver.api.people import People
from mediaserver.limits import PAGE_MESSAGES_BURST_MAX
from mediaserver.model_news import ClientStats, RecordingNews, RecordingState
from tests.unit.api.test_people import STREAM, leg
from tests.unit.api.test_tokens import WallClock


class FakeChannel:
    def __init__(self, label: str = "mediaserver", protocol: str = "") -> None:
        self.label, self.protocol = label, protocol
        self.said: list[dict[str, Any]] = []
        self.closed = False
        self.on_message: Callable[[str | bytes], None] = lambda _message: None
        self.on_close: Callable[[], None] = lambda: None

    def send(self, message: str | bytes) -> bool:
        self.said.append(json.loads(message))
        return True

    def close(self) -> None:
        self.closed = True

    def hear(self, kind: str, **fields: Any) -> dict[str, Any]:
        self.on_message(json.dumps({"type": kind, **fields}))
        return self.said[-1]


class Call:
    def __init__(self) -> None:
        self.people = People(WallClock(), lambda _call: {}, interval_s=5.0)
        self.asked: list[tuple[str, str, bool]] = []
        self.channels = LegChannels(self.people, lambda: self.consent)
        self.people.leg_opened("call1", leg("ann"), STREAM)
        self.people.leg_opened("call1", leg(None, "2"), STREAM)

    async def consent(self, call_id: str, leg_id: str, agree: bool, purposes: Sequence[str]) -> str:
        self.asked.append((call_id, leg_id, agree))
        if not agree:
            raise LookupError(call_id)
        return "granted"

    def channel(self, number: str = "1") -> FakeChannel:
        made = FakeChannel()
        assert self.channels("call1", leg("ann" if number == "1" else None, number), made)  # type: ignore[arg-type]
        return made


def test_a_channel_of_another_name_is_not_ours() -> None:
    channels = Call().channels
    for label, protocol, taken in (("mediaserver", "", True), ("x", "mediaserver.v1", True), ("x", "t140", False)):
        assert channels("call1", leg("ann"), FakeChannel(label, protocol)) is taken  # type: ignore[arg-type]


async def test_those_in_a_call_write_to_each_other_without_any_token() -> None:
    call = Call()
    ann, guest = call.channel(), call.channel("2")
    assert ann.hear("chat", text="hello", id=3) == {"type": "ok", "id": 3}
    assert (guest.said[0]["type"], guest.said[0]["from"], guest.said[0]["text"]) == ("chat", "ann", "hello")
    guest.hear("chat", text="hi")
    assert ann.said[-1]["from"] == "guest"


async def test_it_hears_what_concerns_its_leg_until_it_closes() -> None:
    call = Call()
    ann, guest = call.channel(), call.channel("2")
    call.people.leg_news("call1", leg("ann"), RecordingNews(RecordingState.NOTICE))
    assert (ann.said[0]["state"], guest.said) == ("notice", [])
    ann.on_close()
    call.people.leg_news("call1", leg("ann"), RecordingNews(RecordingState.RECORDING))
    assert len(ann.said) == 1


async def test_consent_and_measurements_are_this_legs() -> None:
    call = Call()
    ann = call.channel()
    ann.hear("stats", report={"rtt_ms": 12.0})
    assert call.people.client_stats("call1", "1") == ClientStats(rtt_ms=12.0)
    ann.hear("consent", agree=True)
    ann.hear("consent", agree=False)
    await asyncio.sleep(0.001)
    assert call.asked == [("call1", "1", True), ("call1", "1", False)]
    assert ann.said[-1]["code"] == "not_found"


async def test_a_channel_goes_along_when_its_leg_goes_over_to_another_call() -> None:
    call = Call()
    ann = call.channel()
    call.people.leg_closed("call1", leg("ann"), None)
    call.people.leg_opened("call2", leg("ann", "3"), STREAM)
    call.people.leg_opened("call2", leg(None, "4"), STREAM)
    other = FakeChannel()
    assert call.channels("call2", leg(None, "4"), other)  # type: ignore[arg-type]
    ann.hear("chat", text="hello")
    assert other.said[0]["text"] == "hello"
    other.hear("chat", text="hi")
    assert ann.said[-1]["text"] == "hi"
    ann.hear("consent", agree=True)
    await asyncio.sleep(0.001)
    assert call.asked == [("call2", "3", True)]
    ann.on_close()
    call.people.leg_news("call2", leg("ann", "3"), RecordingNews(RecordingState.RECORDING))
    assert "recording" not in [said["type"] for said in ann.said]


@pytest.mark.parametrize(
    "sent",
    [
        "rubbish",
        b"\xff\xfe",
        '{"type":"room_control","room":"700","action":"kick","participant":"x-1"}',
        '{"type":"call","to":"600","sdp":"v=0"}',
        '{"type":"hello","token":"x"}',
    ],
)
async def test_all_else_is_refused_in_words(sent: str | bytes) -> None:
    channel = Call().channel()
    channel.on_message(sent)
    assert channel.said[-1]["code"] == "bad_request"


async def test_who_says_too_much_loses_the_channel() -> None:
    channel = Call().channel()
    for _ in range(10 * PAGE_MESSAGES_BURST_MAX):  # what a slow machine's clock gives back meanwhile is far less
        if not channel.closed:
            channel.on_message("{}")
    assert channel.closed
