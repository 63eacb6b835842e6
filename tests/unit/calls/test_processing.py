"""Whose voice is processed, and how: by the settings, by the trunk, by the call program."""

from pathlib import Path

import pytest

from mediaserver.model_voice import VoiceProcessing
from tests.unit.calls.stage import Stage

NOTHING = VoiceProcessing()
TRUNK = {"uri": "sip:carrier.example", "noise_suppression_db": 12.0, "loudness_dbov": -23.0, "echo_cancel": True}


async def called(stage: Stage, identity: str | None) -> VoiceProcessing:
    await stage.call("602", identity=identity)
    return stage.leg().processing


async def test_nothing_is_done_where_nobody_asked(stage: Stage) -> None:
    assert await called(stage, "alice") == NOTHING


async def test_the_settings_hold_for_everybody(tmp_path: Path) -> None:
    stage = Stage(tmp_path, voice={"high_pass": True, "boost_max_db": 12.0})
    assert await called(stage, "alice") == VoiceProcessing(high_pass=True, boost_max_db=12.0)
    await stage.close()


async def test_a_trunk_adds_what_it_says_to_its_own_calls_alone(tmp_path: Path) -> None:
    for identity, *wanted in (("trunk:carrier", 12.0, -23.0, True), ("alice", 6.0, 0.0, False)):
        stage = Stage(tmp_path, voice={"noise_suppression_db": 6.0}, trunks={"carrier": TRUNK})
        found = await called(stage, identity)
        assert [found.noise_db, found.loudness_dbov, found.echo_cancel] == wanted
        await stage.close()


async def test_a_program_decides_for_its_caller(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n await call.process_voice(loudness_dbov=-26, echo_cancel=True)\n"
        " await call.sleep(9)\n"
    )
    await stage.start('[[route]]\nname="p"\nnumber="1"\nprogram="mine"\n')
    await stage.call("1")
    assert stage.leg().processing == VoiceProcessing(loudness_dbov=-26, echo_cancel=True)


@pytest.mark.parametrize(
    "wrong", [{"noise_db": 40}, {"noise_db": -1}, {"loudness_dbov": -5}, {"loudness_dbov": 3}, {"boost_max_db": 60}]
)
def test_values_nobody_could_mean_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="possible"):
        VoiceProcessing(**wrong)  # type: ignore[arg-type]
