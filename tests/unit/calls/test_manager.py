"""The manager: limits, reload, drain, operator's commands, dead callers, and books that balance."""

from __future__ import annotations

import asyncio
import os
import random

import pytest
import structlog

from mediaserver.calls.digits import digit_of_info
from mediaserver.model import Cause, MediaSilent
from mediaserver.sip.session import Cancelled, Confirmed, Ended, Failed, InfoReceived, Reoffer
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage, sdp


async def test_a_changed_routing_file_takes_effect_without_touching_calls(stage: Stage) -> None:
    rule = '[[route]]\nname="e"\nnumber="{}"\nprogram="echo"\n'
    await stage.start(rule.format("600"))
    session = await stage.call("600")
    path = stage.tmp_path / "routing.toml"
    path.write_text(rule.format("1600"), "utf-8")
    await stage.wait(2.1)
    assert (await stage.call("600")).did[-1][:2] == ("reject", 404)
    assert (await stage.call("1600")).names() == ["accept"]
    path.write_text("broken", "utf-8")
    os.utime(path, ns=(5, 5))
    await stage.wait(2.1)
    assert (await stage.call("1600")).names() == ["accept"]
    assert not session.over


async def test_calls_over_the_limit_are_refused(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"sip": stage.settings.sip.model_copy(update={"max_calls": 1})})
    await stage.call("600")
    refused = await stage.call("600")
    assert refused.did[-1] == ("reject", 503, (("Retry-After", "10"),))
    assert stage.manager is not None
    assert stage.manager.refused == {"too_many": 1}


async def test_a_refused_call_that_is_still_clearing_up_takes_nobodys_place(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"sip": stage.settings.sip.model_copy(update={"max_calls": 1})})
    refused = await stage.call("nowhere", settle=False)
    while "reject" not in refused.names():
        await asyncio.sleep(0)
    assert stage.manager is not None
    assert len(stage.manager) == 1, "its task has not ended yet"
    again = await stage.call("600")
    assert again.names() == ["accept"]
    assert stage.manager.refused == {"no_route": 1}


async def test_draining_waits_for_running_calls_and_then_ends_them(stage: Stage) -> None:
    one = await stage.call("600")
    two = await stage.call("600")
    assert stage.manager is not None
    draining = asyncio.ensure_future(stage.manager.drain(10.0))
    await stage.settle()
    late = await stage.call("600")
    assert late.did[-1][:2] == ("reject", 503)
    await stage.hang_up(one)
    await stage.wait(9.0)
    assert not two.over
    await draining
    assert two.names()[-1] == "hang_up"
    assert [facts.cause for facts in stage.observer.ended] == [Cause.REMOTE_HANGUP, Cause.SHUTDOWN]


async def test_an_operator_sees_and_ends_a_call(stage: Stage) -> None:
    await stage.call("600")
    assert stage.manager is not None
    (facts,) = stage.manager.calls()
    assert (facts.state, facts.program, facts.legs[0].state) == ("running", "echo", "talking")
    assert stage.manager.call(facts.call_id) is not None
    assert await stage.manager.hang_up(facts.call_id)
    assert not await stage.manager.hang_up(facts.call_id)
    assert stage.observer.ended[0].cause is Cause.OPERATOR
    assert stage.manager.ended == {"operator": 1}


async def test_a_party_whose_media_stops_is_hung_up(stage: Stage) -> None:
    session = await stage.call("600")
    stage.engine.on_event(MediaSilent(stage.leg().handle, True))
    await stage.wait(29.0)
    assert not session.over
    await stage.wait(2.0)
    assert session.over
    assert (stage.observer.ended[0].cause, stage.observer.ended[0].ended_by) == (Cause.NO_MEDIA, "caller")


async def test_a_party_whose_media_comes_from_a_third_host_is_told_of_once_with_the_remedy(
    stage: Stage,
) -> None:
    await stage.call("600", identity="trunk:carrier")
    handle = stage.leg().handle
    with structlog.testing.capture_logs() as lines:
        stage.engine.on_event(MediaSilent(handle, True))  # nothing came at all
        stage.engine.on_event(MediaSilent(handle, False))
        stage.engine.strangers[handle] = 1_500
        for silent in (True, False, True):
            stage.engine.on_event(MediaSilent(handle, silent))
    (line,) = [line for line in lines if "media_from" in line["event"]]
    assert (line["leg"], line["packets"], line["trunk"]) == ("1", 1_500, "carrier")


async def test_a_party_that_comes_back_holds_or_sends_rtcp_stays(stage: Stage) -> None:
    session = await stage.call("600")
    handle = stage.leg().handle
    stage.engine.on_event(MediaSilent(handle, True))
    await stage.wait(20.0)
    stage.engine.on_event(MediaSilent(handle, False))
    await stage.wait(60.0)
    stage.engine.on_event(MediaSilent(handle, True))
    await stage.hold(session)
    await stage.wait(100.0)
    assert not session.over
    await stage.hold(session, "sendrecv")
    stage.engine.rtcp[handle] = 5
    await stage.wait(40.0)
    assert not session.over
    await stage.wait(100.0)
    assert session.over


async def test_a_call_may_last_only_so_long(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(
        update={"calls": stage.settings.calls.model_copy(update={"max_duration_s": 100})}
    )
    session = await stage.call("600")
    await stage.wait(99.0)
    assert not session.over
    await stage.wait(2.0)
    assert session.over


async def test_a_peer_that_floods_its_leg_is_hung_up(stage: Stage) -> None:
    session = await stage.call("600")
    for _ in range(300):
        session.on_event(InfoReceived("application/dtmf", b"1"))
    await stage.settle()
    assert session.names()[-1] == "hang_up"
    assert stage.observer.ended[0].cause is Cause.TRANSPORT


async def test_an_observer_that_raises_hurts_nobody(stage: Stage) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError("observer")

    stage.observer.call_started = broken  # type: ignore[method-assign]
    session = await stage.call("600")
    assert session.names() == ["accept"]
    await stage.hang_up(session)
    stage.observer.events.append(("call_started", None))


@pytest.mark.parametrize(
    ("kind", "body", "digit"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", ("5", 160)),
        ("application/dtmf-relay", b"Signal= #\nDuration= 90", ("#", 90)),
        ("Application/DTMF-Relay; x=y", b"Signal=10", ("*", 0)),
        ("application/dtmf-relay", b"Signal=a", ("A", 0)),
        ("application/dtmf", b"7", ("7", 0)),
        ("application/dtmf", b" * \r\n", ("*", 0)),
        ("application/dtmf", b"77", None),
        ("application/dtmf", b"", None),
        ("application/dtmf-relay", b"Duration=160", None),
        ("application/dtmf-relay", b"\xff\xfe", None),
        ("text/plain", b"5", None),
        ("", b"5", None),
    ],
)
def test_info_bodies_in_use_are_read(kind: str, body: bytes, digit: tuple[str, int] | None) -> None:
    assert digit_of_info(kind, body) == digit


def random_event(rng: random.Random, session: FakeSession) -> None:
    choice = rng.randrange(9)
    if choice <= 2:
        session.tell(Ended(False))
    elif choice == 3 and session.incoming and not session.established:
        session.tell(Cancelled())
    elif choice == 4:
        session.tell(Reoffer(rng.choice([None, sdp(), sdp("a=sendonly"), sdp(formats="18"), b"x=", b"garbage"])))
    elif choice == 5:
        session.tell(InfoReceived("application/dtmf", rng.choice([b"1", b"#", b"?"])))
    elif choice == 6:
        session.tell(Confirmed(rng.choice([None, sdp(), b"m="])))
    elif choice == 7 and not session.incoming and not session.established:
        session.tell(Failed(rng.choice([404, 486, 488, 500, 603]), ""))


async def test_after_200_random_calls_nothing_is_left(stage: Stage) -> None:
    rng = random.Random(20)
    stage.program(
        "import random\n"
        "rng = random.Random(7)\n"
        "async def program(call):\n"
        "    for _ in range(3):\n"
        "        step = rng.randrange(7)\n"
        "        if step == 0: await call.play('welcome')\n"
        "        if step == 1: await call.gather(2, 1.0)\n"
        "        if step == 2: await call.record(5.0)\n"
        "        if step == 3: await call.bridge('bob')\n"
        "        if step == 4: await call.transfer(rng.choice(['600', '700', 'bob', 'nobody']))\n"
        "        if step == 5: raise RuntimeError('program')\n"
        "        if step == 6: await call.join('700')\n"
    )
    rules = "".join(
        f'[[route]]\nname="r{i}"\nnumber="{number}"\n{target}\nrecord={record}\n'
        for i, (number, target, record) in enumerate(
            [
                ("600", 'program="echo"', "true"),
                ("602", 'program="message"', "false"),
                ("700", 'conference="700"', "true"),
                ("701", 'conference="701"', "false"),
                ("1", 'program="mine"', "false"),
                ("2", 'program="mine"', "true"),
                ("9*", 'trunk="carrier"', "false"),
                ("3", 'user="bob"', "true"),
                ("*", 'user="{number}"', "false"),
            ]
        )
    )
    await stage.start(rules)
    for user, does in (("bob", "answer"), ("carol", "ring"), ("dave", "486"), ("erin", "early")):
        stage.register(user, f"sip:{user}@a", f"sip:{user}@b", does=does)
    with structlog.testing.capture_logs() as logs:
        await random_calls(stage, rng)
    assert len(stage.observer.ended) > 100
    await stage.close()
    assert len(stage.observer.ended) == 200
    broken = [entry for entry in logs if entry["event"] in ("call failed", "task of a call failed")]
    assert broken == []


async def random_calls(stage: Stage, rng: random.Random) -> None:
    sessions: list[FakeSession] = []
    numbers = ["600", "601", "602", "700", "701", "1", "2", "3", "9123", "bob", "carol", "dave", "erin", "nobody"]
    for _ in range(200):
        offer = rng.choice([sdp(), sdp(), sdp(), None, sdp(formats="18"), b"nonsense"])
        sessions.append(await stage.call(rng.choice(numbers), offer=offer, settle=False))
        for _ in range(rng.randrange(4)):
            session = rng.choice([*sessions[-20:], *stage.gateway.sessions[-20:]])
            random_event(rng, session)
        if rng.random() < 0.2 and stage.engine.legs:
            await stage.refer(rng.choice(sessions[-10:]), rng.choice(["sip:carol@pbx.example", "sip:700@pbx.example"]))
        stage.engine._ports = 3 if rng.random() < 0.03 else 1_000
        await stage.wait(rng.choice([0.0, 0.3, 3.0, 20.0]))
