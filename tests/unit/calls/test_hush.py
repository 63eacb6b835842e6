"""A program that waits for its caller sends silence: a phone that gets no packet at all reports a broken network."""

from __future__ import annotations

from tests.unit.calls.stage import Stage

ROUTES = '[[route]]\nname="p"\nnumber="1"\nprogram="mine"\n'


async def running(stage: Stage, program: str) -> None:
    stage.program(f"async def program(call):\n await call.answer()\n{program}")
    await stage.start(ROUTES)
    await stage.call("1")


async def test_silence_is_sent_while_keys_are_waited_for_and_ends_with_the_next_prompt(stage: Stage) -> None:
    await running(stage, " await call.gather(1, 60)\n await call.play('goodbye')\n await call.sleep(9)\n")
    assert stage.leg().silence
    assert stage.heard() == []
    await stage.press("5")
    assert not stage.leg().silence
    assert stage.heard() == ["goodbye"]


async def test_silence_is_sent_while_a_program_sleeps(stage: Stage) -> None:
    await running(stage, " await call.sleep(9)\n")
    assert stage.leg().silence


async def test_a_message_is_left_into_silence(stage: Stage) -> None:
    await stage.call("602")
    await stage.wait(30.0)
    assert stage.leg().silence


async def test_whoever_is_in_a_bridge_hears_that_and_no_silence(stage: Stage) -> None:
    await running(stage, " await call.sleep(1)\n await call.echo()\n")
    assert stage.leg().silence
    await stage.wait(3.0)
    assert stage.leg().bridge is not None
    assert not stage.leg().silence
