"""Conference rooms."""

from __future__ import annotations

from mediaserver.model import ActiveSpeaker
from mediaserver.sip.session import Ended
from tests.unit.calls.stage import Stage


async def test_one_who_is_alone_hears_so_and_then_music_until_a_second_comes(stage: Stage) -> None:
    await stage.call("700")
    assert stage.heard() == ["conference-join"]
    await stage.wait(2.1)
    assert stage.heard() == ["conference-join", "conference-alone"]
    await stage.wait(2.1)
    assert stage.heard()[-1] == "hold-music"
    second = await stage.call("700", caller="carol")
    await stage.wait(2.1)
    legs = list(stage.engine.legs.values())
    assert [leg.playing for leg in legs] == [None, None]
    assert legs[0].bridge == legs[1].bridge is not None
    await stage.hang_up(second)
    assert stage.heard() == ["conference-join", "conference-alone", "hold-music", "conference-alone"]


async def test_rooms_are_separate_and_gone_with_their_last_participant(stage: Stage) -> None:
    first = await stage.call("700")
    second = await stage.call("701", caller="carol")
    await stage.wait(3.0)
    assert stage.manager is not None
    assert sorted(room.name for room in stage.manager.rooms()) == ["700", "701"]
    assert len(stage.engine.bridges) == 2
    await stage.hang_up(first)
    assert [room.name for room in stage.manager.rooms()] == ["701"]
    await stage.hang_up(second)
    assert stage.engine.bridges == {}


async def test_a_participant_can_be_muted_and_removed(stage: Stage) -> None:
    session = await stage.call("700")
    await stage.wait(0.1)
    await stage.call("700", caller="carol")
    await stage.wait(3.0)
    assert stage.manager is not None
    (room,) = stage.manager.rooms()
    first = room.participants[0]
    assert await stage.manager.mute("700", first.call_id, first.leg_id, True)
    assert stage.leg(0).muted
    assert stage.manager.rooms()[0].participants[0].muted
    assert stage.manager.kick("700", first.call_id, first.leg_id)
    await stage.settle()
    assert session.names()[-1] == "hang_up"
    assert len(stage.manager.rooms()[0].participants) == 1
    assert not await stage.manager.mute("700", "nobody", "1", True)
    assert not stage.manager.kick("799", first.call_id, first.leg_id)


async def test_who_comes_first_directs_the_room_whoever_gets_in_first(stage: Stage) -> None:
    for caller, greeting_s in (("alice", 5.0), ("bob", 3.0), ("carol", 1.0)):
        stage.engine.prompt_s["conference-join"] = greeting_s
        await stage.call("700", caller=caller)
    assert stage.manager is not None

    def inside() -> list[tuple[str, bool]]:
        assert stage.manager is not None
        (room,) = stage.manager.rooms()
        return [(participant.number, participant.moderator) for participant in room.participants]

    await stage.wait(1.5)
    assert inside() == [("carol", True)]
    await stage.wait(2.0)
    assert inside() == [("bob", True), ("carol", False)]
    await stage.wait(2.0)
    assert inside() == [("alice", True), ("bob", False), ("carol", False)]


async def test_a_participant_who_holds_does_not_play_his_music_to_the_room(stage: Stage) -> None:
    session = await stage.call("700")
    await stage.wait(3.0)
    await stage.hold(session)
    assert stage.leg().muted
    await stage.hold(session, "sendrecv")
    assert not stage.leg().muted


async def test_somebody_who_hangs_up_while_greeted_never_joins(stage: Stage) -> None:
    session = await stage.call("700")
    await stage.wait(1.0)
    await stage.hang_up(session)
    assert stage.manager is not None
    assert stage.manager.rooms() == []
    assert stage.engine.bridges == {}


async def test_a_room_that_is_closing_is_not_entered(stage: Stage) -> None:
    first = await stage.call("700")
    await stage.wait(3.0)
    first.tell(Ended(False))
    await stage.call("700", caller="carol")
    await stage.wait(3.0)
    assert stage.manager is not None
    (room,) = stage.manager.rooms()
    assert len(room.participants) == 1
    assert stage.leg().bridge is not None


async def test_those_who_bring_news_hear_of_every_change_of_a_room(stage: Stage) -> None:
    first = await stage.call("700")
    await stage.wait(3.0)
    second = await stage.call("700", caller="carol")
    await stage.wait(3.0)
    assert [len(room.participants) for room in stage.reader.rooms] == [1, 2]
    assert stage.manager is not None
    speaker = stage.leg(1)
    assert speaker.bridge is not None
    for _ in range(2):  # told once
        stage.manager.on_media_event(ActiveSpeaker(speaker.bridge, speaker.handle))
    assert [p.speaking for p in stage.reader.rooms[-1].participants] == [False, True]
    assert len(stage.reader.rooms) == 3
    await stage.hang_up(second)
    await stage.hang_up(first)
    assert [len(room.participants) for room in stage.reader.rooms[3:]] == [1, 0]
