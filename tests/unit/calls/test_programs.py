"""The shipped call programs and what a program can do."""

from __future__ import annotations

from mediaserver.model import Cause
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
    assert stage.engine.legs == {}
