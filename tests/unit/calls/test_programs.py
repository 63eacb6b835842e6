"""The shipped call programs and what a program can do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from mediaserver.errors import StorageError
from mediaserver.model import Cause, DtmfSource, NoticeKind
from tests.unit.calls.stage import Stage


async def test_600_plays_its_intro_and_then_the_caller_hears_himself(stage: Stage) -> None:
    session = await stage.call("600")
    assert session.names() == ["accept"]
    assert stage.heard() == ["echo-intro"]
    assert stage.leg().bridge is None
    await stage.wait(3.0)
    leg = stage.leg()
    assert leg.bridge is not None
    assert stage.engine.hears[leg.bridge, leg.handle, leg.handle]
    await stage.hang_up(session)
    (facts,) = stage.observer.ended
    assert (facts.cause, facts.ended_by, facts.program) == (Cause.REMOTE_HANGUP, "caller", "echo")
    assert facts.sip_status is None
    assert stage.engine.legs == {}


async def test_echo_without_intro_echoes_at_once(stage: Stage) -> None:
    await stage.start('[[route]]\nname="e"\nnumber="600"\nprogram="echo"\noptions={intro=false}\n')
    await stage.call("600")
    assert stage.heard() == []
    assert stage.leg().bridge is not None


async def test_601_speaks_russian_and_english_and_hangs_up(stage: Stage) -> None:
    session = await stage.call("601")
    await stage.press("5")  # a digit does not shorten it
    await stage.wait(10.0)
    assert stage.engine.closed[0].heard == ["/prompts/ru/welcome.wav", "/prompts/en/welcome.wav"]
    assert session.names() == ["accept", "hang_up"]
    (facts,) = stage.observer.ended
    assert (facts.cause, facts.ended_by) == (Cause.LOCAL_HANGUP, "server")


async def test_602_captures_after_notice_and_beep_and_plays_the_message_back(stage: Stage) -> None:
    await stage.call("602")
    (recording,) = stage.recorder.recordings
    assert recording.kind is NoticeKind.MESSAGE
    assert stage.heard() == ["message-intro"]
    assert not recording.capturing
    await stage.press("12")  # neither digits nor impatience shorten a notice
    assert not recording.capturing
    await stage.wait(2.1)
    assert stage.heard()[-1] == "tone (1000.0,)"
    assert not recording.capturing
    await stage.wait(0.5)
    assert recording.capturing
    await stage.wait(5.0)
    await stage.press("#")
    assert recording.ended
    await stage.wait(10.0)
    assert [Path(name).stem for name in stage.engine.closed[0].heard] == [
        "message-intro",
        "tone (1000",
        "message-playback",
        "rec-1",
        "goodbye",
    ]
    (facts,) = stage.observer.ended
    assert facts.recording_id == "rec-1"


async def test_a_message_ends_by_silence(stage: Stage) -> None:
    await stage.call("602")
    await stage.wait(4.0)
    (recording,) = stage.recorder.recordings
    stage.engine.levels[stage.leg().handle] = -70.0
    await stage.wait(3.0)
    assert recording.capturing
    await stage.wait(2.0)
    assert recording.ended


async def test_a_silent_message_is_not_played_back(stage: Stage) -> None:
    await stage.call("602")
    stage.engine.levels[stage.leg().handle] = -70.0
    await stage.wait(8.0)
    assert stage.heard()[-1] == "message-empty"


async def test_a_caller_who_hangs_up_during_the_notice_is_not_captured(stage: Stage) -> None:
    session = await stage.call("602")
    await stage.wait(1.0)
    await stage.hang_up(session)
    (recording,) = stage.recorder.recordings
    assert recording.log == []
    assert recording.ended


async def test_a_caller_who_hangs_up_while_recording_leaves_a_complete_recording(stage: Stage) -> None:
    session = await stage.call("602")
    await stage.wait(4.0)
    await stage.hang_up(session)
    (recording,) = stage.recorder.recordings
    assert recording.log == ["capture", "pause"]
    assert recording.ended


async def test_without_a_recorder_602_apologises_before_it_asks_and_ends_with_the_true_reason_in_the_log(
    stage: Stage,
) -> None:
    stage.recorder.fail = StorageError("/srv: 12 MB free, recording.min_free_mb is 200")
    with capture_logs() as lines:
        await stage.call("602")
        assert stage.heard() == ["technical-error"]
        await stage.wait(5.0)
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert line["error"] == "/srv: 12 MB free, recording.min_free_mb is 200"
    (facts,) = stage.observer.ended
    assert facts.cause is Cause.LOCAL_HANGUP


PROGRAM_ROUTE = '[[route]]\nname="mine"\nnumber="1"\nprogram="mine"\n'


async def test_an_ivr_takes_digits_over_its_prompt(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n"
        "    heard = await call.play('welcome')\n"
        "    typed = await call.gather(4, 3.0)\n"
        "    call_log.append((heard, str(typed)))\n"
        "call_log = []\n"
    )
    await stage.start(PROGRAM_ROUTE)
    await stage.call("1")
    await stage.wait(0.5)
    await stage.press("4")
    assert stage.leg().playing is None
    await stage.press("2#")
    assert stage.manager is not None
    program: Any = stage.manager._programs.find("mine")
    assert program.__globals__["call_log"] == [(False, "42")]


@pytest.mark.parametrize("source", list(DtmfSource))
async def test_a_digit_reaches_gather_once_whatever_ways_it_came(stage: Stage, source: DtmfSource) -> None:
    stage.program("async def program(call):\n    typed.append(str(await call.gather(9, 2.0)))\ntyped = []\n")
    await stage.start(PROGRAM_ROUTE)
    session = await stage.call("1")
    for digit in "1155":
        await stage.press(digit, source=source)
        if source is not DtmfSource.SIP_INFO:
            await stage.info(session, digit)
        await stage.wait(0.2)
    await stage.wait(3.0)
    assert stage.manager is not None
    program: Any = stage.manager._programs.find("mine")
    assert program.__globals__["typed"] == ["1155"]


async def test_gather_ends_by_count_terminator_and_timeout(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n"
        "    typed.append(str(await call.gather(2)))\n"
        "    typed.append(str(await call.gather(5, terminators='*')))\n"
        "    typed.append(str(await call.gather(5, 1.0, first_timeout_s=9.0)))\n"
        "    await call.sleep(100)\n"
        "typed = []\n"
    )
    await stage.start(PROGRAM_ROUTE)
    await stage.call("1")
    await stage.press("123*")
    await stage.wait(8.0)
    await stage.press("7")
    await stage.wait(1.5)
    assert stage.manager is not None
    program: Any = stage.manager._programs.find("mine")
    assert program.__globals__["typed"] == ["12", "3", "7"]


async def test_a_program_that_raises_ends_its_own_call_only_and_says_where(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.answer()\n    raise KeyError('menu')\n")
    await stage.start(PROGRAM_ROUTE + '[[route]]\nname="e"\nnumber="600"\nprogram="echo"\n')
    other = await stage.call("600")
    with structlog.testing.capture_logs() as logs:
        session = await stage.call("1")
    assert stage.heard(1) == ["technical-error"]
    await stage.wait(3.0)
    (line,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert line["at"].endswith("mine.py:3")
    assert session.names() == ["accept", "hang_up"]
    assert not other.over
    assert stage.observer.ended[0].cause is Cause.PROGRAM_ERROR


async def test_a_program_that_raises_before_answering_gives_500(stage: Stage) -> None:
    stage.program("async def program(call):\n    1 / 0\n")
    await stage.start(PROGRAM_ROUTE)
    session = await stage.call("1")
    assert session.did[-1][:2] == ("reject", 500)


async def test_a_program_that_cannot_be_imported_gives_500_and_its_line(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.answer(\n")
    await stage.start(PROGRAM_ROUTE)
    with structlog.testing.capture_logs() as logs:
        session = await stage.call("1")
    assert session.did[-1][:2] == ("reject", 500)
    assert any(str(entry.get("at", "")).endswith("mine.py:2") for entry in logs)


async def test_a_changed_program_is_read_again_and_running_calls_keep_theirs(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.play('one')\n    await call.play('one-more')\n")
    await stage.start(PROGRAM_ROUTE)
    await stage.call("1")
    stage.program("async def program(call):\n    await call.play('two')\n")
    os.utime(stage.programs_dir / "mine.py", ns=(1, 1))
    await stage.call("1")
    stage.program("async def program(call:\n")
    await stage.call("1")
    assert [stage.heard(0)[-1], stage.heard(1)[-1], stage.heard(2)[-1]] == ["one", "two", "two"]
    await stage.wait(2.0)
    assert stage.heard(0)[-1] == "one-more"


async def test_a_program_may_tidy_up_after_its_call_but_not_for_ever(stage: Stage) -> None:
    stage.program(
        "import asyncio\n"
        "async def program(call):\n"
        "    try:\n"
        "        await call.echo()\n"
        "    finally:\n"
        "        await asyncio.sleep(1)\n"
        "        done.append(1)\n"
        "        await asyncio.sleep(1000)\n"
        "        done.append(2)\n"
        "done = []\n"
    )
    await stage.start(PROGRAM_ROUTE)
    session = await stage.call("1")
    await stage.hang_up(session)
    await stage.wait(2.0)
    assert stage.manager is not None
    program: Any = stage.manager._programs.find("mine")
    assert program.__globals__["done"] == [1]
    assert len(stage.manager) == 1
    await stage.wait(4.0)
    assert len(stage.manager) == 0
    assert program.__globals__["done"] == [1]


async def test_a_missing_prompt_ends_the_call_with_an_apology(stage: Stage) -> None:
    for name in ("missing", "broken"):
        stage.program(f"async def program(call):\n    await call.play('{name}')\n", name=name)
    await stage.start("".join(f'[[route]]\nname="{n}"\nnumber="{n}"\nprogram="{n}"\n' for n in ("missing", "broken")))
    await stage.call("missing")
    await stage.call("broken")
    assert stage.heard(0) == stage.heard(1) == ["technical-error"]


async def test_a_program_returns_and_the_caller_is_hung_up(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.ring()\n")
    await stage.start(PROGRAM_ROUTE)
    session = await stage.call("1")
    assert session.names() == ["ring", "reject"]
    assert session.did[-1][1] == 480


async def test_a_program_hands_its_caller_to_another_number(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.answer()\n    await call.transfer('600')\n")
    await stage.start(PROGRAM_ROUTE + '[[route]]\nname="e"\nnumber="600"\nprogram="echo"\noptions={intro=false}\n')
    session = await stage.call("1")
    assert stage.leg().bridge is not None
    assert session.names() == ["accept"]


async def test_programs_that_hand_a_caller_in_circles_are_stopped(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.transfer('1')\n")
    await stage.start(PROGRAM_ROUTE)
    session = await stage.call("1")
    await stage.wait(1.0)
    assert session.did[-1][:2] == ("reject", 482)


async def test_digits_reach_a_handler_even_in_a_bridge_and_dtmf_goes_out(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n"
        "    call.on_digit(seen.append)\n"
        "    await call.answer()\n"
        "    await call.send_dtmf('12')\n"
        "    await call.echo()\n"
        "seen = []\n"
    )
    await stage.start(PROGRAM_ROUTE)
    await stage.call("1")
    await stage.press("7")
    assert stage.leg().dtmf == ["12"]
    assert stage.manager is not None
    program: Any = stage.manager._programs.find("mine")
    assert program.__globals__["seen"] == ["7"]


async def test_digits_typed_ahead_are_bounded(stage: Stage) -> None:
    await stage.call("600")
    await stage.press("1" * 100)
    assert stage.manager is not None
    leg = next(iter(stage.manager._calls.values())).primary
    assert leg.voice.digits_dropped == 100 - 64
