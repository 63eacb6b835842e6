"""Recording sessions of others: streams recorded as one conversation on their client's word, or refused. RFC 7866."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mediaserver.errors import StorageError
from mediaserver.model import Cause, MediaSilent
from mediaserver.model_consent import Answer, ConsentRules
from mediaserver.sip.session import Cancelled, Ended, MetadataReceived, Reoffer
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import HEAD, Stage

TWO = (Path(__file__).resolve().parents[2] / "vectors" / "siprec" / "two-parties.xml").read_bytes()
DECLARED = ConsentRules("declared-by-client", ask="prior")
TRUNKS = {
    "sbc": {"uri": "sip:sbc.example", "siprec_policy": "declared-by-client"},
    "carrier": {"uri": "sip:carrier.example"},
}


def offer(*sections: tuple[str, int, str]) -> bytes:
    return (
        HEAD + "".join(f"m=audio {port} RTP/AVP 8 0\r\na=label:{label}\r\na={way}\r\n" for label, port, way in sections)
    ).encode()


BOTH = offer(("96", 6000, "sendonly"), ("97", 6002, "sendonly"))


@pytest.fixture
async def server(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Stage(tmp_path, trunks=TRUNKS)
    made.recorder.policy = DECLARED
    yield made
    await made.close()


async def session(stage: Stage, *, trunk: str = "sbc", sdp: bytes = BOTH, metadata: bytes | None = TWO) -> FakeSession:
    if stage.manager is None:
        await stage.start()
    made = FakeSession(incoming=True, called_user="srs", caller_user="src", identity=f"trunk:{trunk}", sdp=sdp)
    made.siprec, made.metadata = True, metadata
    assert stage.manager is not None
    stage.manager.on_invite(made)  # type: ignore[arg-type]
    await stage.settle()
    return made


async def test_both_streams_are_recorded_as_one_conversation_with_the_parties_the_client_names(server: Stage) -> None:
    client = await session(server)
    assert client.names() == ["accept"]
    answer = client.did[0][1].decode()
    assert answer.count("a=recvonly") == 2
    (recording,) = server.recorder.recordings
    assert recording.log == ["capture"]
    assert [str(leg.number) for leg in recording.legs] == ["+442079460101", "bob"]
    assert [leg.role for leg in recording.legs] == ["caller", "callee"]
    (case,) = server.recorder.cases
    assert (case.policy, case.trunk) == ("declared-by-client", "sbc")
    for _, said, how, detail in recording.answers:
        assert (said, how) == (Answer.GRANTED, "siprec")
        assert detail["declared_by"] == "sbc"
        assert detail["session"] == "cs-1"
    assert [detail["participant"] for *_, detail in recording.answers] == ["p-alice", "p-bob"]
    assert [values["siprec"]["participants"][0]["name"] for _, values in recording.notes] == ["Alice & Sons", "Bob B"]
    await server.hang_up(client)
    assert recording.ended
    (facts,) = server.observer.ended
    assert (str(facts.caller), str(facts.called)) == ("+442079460101", "bob")
    assert (facts.route, facts.program, facts.cause) == ("siprec-sbc", "siprec", Cause.REMOTE_HANGUP)
    assert facts.recording_id == recording.recording_id


async def test_nothing_is_captured_before_the_answer_and_taps_stand_when_it_leaves(server: Stage) -> None:
    order: list[str] = []
    await server.start()
    begin = server.recorder.begin

    async def noticed(*given):  # type: ignore[no-untyped-def]
        recording = await begin(*given)
        answer = recording.answer

        async def answered(*given):  # type: ignore[no-untyped-def]
            order.append("granted")
            return await answer(*given)

        recording.answer = answered
        return recording

    server.recorder.begin = noticed  # type: ignore[method-assign]
    client = FakeSession(incoming=True, called_user="srs", caller_user="src", identity="trunk:sbc", sdp=BOTH)
    client.siprec, client.metadata, client.on_did = True, TWO, order.append
    assert server.manager is not None
    server.manager.on_invite(client)  # type: ignore[arg-type]
    await server.settle()
    assert order == ["granted", "granted", "accept"]
    await server.hang_up(client)


@pytest.mark.parametrize(
    ("trunk", "rules", "status"),
    [
        ("carrier", DECLARED, 403),  # no recording client
        ("sbc", ConsentRules("eu", ask="press"), 403),  # there is nobody to press a key
        ("sbc", ConsentRules("never", ask="never"), 403),
    ],
)
async def test_who_may_not_or_cannot_be_recorded_is_refused(
    server: Stage, trunk: str, rules: ConsentRules, status: int
) -> None:
    server.recorder.policy = rules
    client = await session(server, trunk=trunk)
    assert [what[:2] for what in client.did] == [("reject", status)]
    assert server.recorder.recordings == []
    assert server.engine.legs == {}


async def test_a_user_who_signed_in_is_no_recording_client(server: Stage) -> None:
    await server.start()
    client = FakeSession(incoming=True, called_user="srs", caller_user="ann", identity="ann", sdp=BOTH)
    client.siprec = True
    assert server.manager is not None
    server.manager.on_invite(client)  # type: ignore[arg-type]
    await server.settle()
    assert [what[:2] for what in client.did] == [("reject", 403)]


async def test_a_client_is_told_at_once_when_nothing_can_be_recorded_and_hung_up_when_it_stops(server: Stage) -> None:
    server.recorder.fail = StorageError("disk full")
    refused = await session(server)
    assert [what[:2] for what in refused.did] == [("reject", 503)]
    server.recorder.fail = None
    client = await session(server)
    (recording,) = server.recorder.recordings
    assert recording.on_failure is not None
    recording.on_failure("disk_full")
    await server.settle()
    assert client.names() == ["accept", "hang_up"]
    assert server.observer.ended[-1].cause is Cause.PROGRAM_ERROR


async def test_streams_come_pause_and_go_in_mid_session(server: Stage) -> None:
    client = await session(server)
    (recording,) = server.recorder.recordings
    later = offer(("96", 6000, "inactive"), ("97", 0, "inactive"), ("98", 6004, "sendonly"))
    partial = (
        b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>partial</datamode>'
        b'<participant participant_id="p-carol"><nameID aor="tel:+12025550102"/></participant>'
        b'<stream stream_id="s-3" session_id="cs-1"><label>98</label></stream>'
        b'<participantstreamassoc participant_id="p-carol"><send>s-3</send></participantstreamassoc></recording>'
    )
    client.tell(Reoffer(later, partial))
    await server.settle()
    answer = client.did[-1][1].decode()
    assert client.names() == ["accept", "answer_reoffer"]
    assert answer.count("m=audio 0 ") == 1
    assert answer.count("a=inactive") == 1
    assert [str(leg.number) for leg in recording.legs] == ["+442079460101", "bob", "+12025550102"]
    assert len(recording.joined) == 2  # the second party left
    assert [leg.state for kind, leg in server.observer.events if kind == "leg_changed"] == ["held"]
    assert len(server.engine.legs) == 2
    client.tell(Reoffer(b"nonsense"))
    client.tell(Reoffer(None))
    await server.settle()
    assert client.names()[2:] == ["reject_reoffer", "reject_reoffer"]
    await server.hang_up(client)
    assert recording.ended


async def test_names_that_come_later_are_kept_with_the_channel_and_bad_metadata_hurts_nothing(server: Stage) -> None:
    client = await session(server, metadata=b"<!DOCTYPE x><recording/>")
    assert client.names() == ["accept"]
    (recording,) = server.recorder.recordings
    assert [str(leg.number) for leg in recording.legs] == ["stream 96", "stream 97"]
    client.tell(MetadataReceived(b"<"))
    client.tell(MetadataReceived(TWO))
    client.tell(MetadataReceived(TWO))  # nothing new
    client.tell(MetadataReceived(TWO.replace(b"<send>", b"<recv>").replace(b"</send>", b"</recv>")))  # all have left
    await server.settle()
    assert [[one["id"] for one in values["siprec"]["participants"]] for _, values in recording.notes] == [
        [],
        [],
        ["p-alice"],
        ["p-bob"],
    ]
    assert recording.named_as == ("+442079460101", "bob")
    await server.hang_up(client)


async def test_a_client_that_is_gone_without_a_word_is_given_up(server: Stage) -> None:
    client = await session(server)
    assert server.manager is not None
    for handle in list(server.engine.legs):
        server.manager.on_media_event(MediaSilent(handle, True))
    await server.settle()
    await server.wait(29.0)
    assert client.names() == ["accept"]
    await server.wait(2.0)
    assert client.names() == ["accept", "hang_up"]
    assert server.observer.ended[0].cause is Cause.NO_MEDIA


async def test_an_operator_ends_it_and_lists_it_like_any_call(server: Stage) -> None:
    client = await session(server)
    assert server.manager is not None
    (facts,) = server.manager.calls()
    assert [leg.state for leg in facts.legs] == ["answered", "answered"]
    assert await server.manager.record(facts.call_id, True) is True
    assert await server.manager.record(facts.call_id, False) is False
    assert await server.manager.hang_up(facts.call_id)
    assert client.names() == ["accept", "hang_up"]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_order_things_happen_in_nothing_is_left_and_the_client_hears_one_ending(
    server: Stage, seed: int
) -> None:
    rng = random.Random(seed)
    await server.start()
    assert server.manager is not None
    offers = [
        BOTH,
        offer(("96", 6000, "inactive"), ("97", 6002, "sendonly")),
        offer(("96", 0, "sendonly"), ("97", 6002, "sendonly"), ("98", 6004, "sendonly")),
        offer(("96", 0, "sendonly"), ("97", 0, "sendonly")),
        offer(*((str(n), 6000 + 2 * n, "sendonly") for n in range(20))),
        b"x=",
        None,
    ]
    documents = [TWO, TWO.replace(b"complete", b"partial"), b"<", b"", None]
    for _ in range(25):
        server.recorder.fail = StorageError("disk full") if rng.random() < 0.1 else None
        client = FakeSession(
            incoming=True, called_user="srs", identity=rng.choice(["trunk:sbc", "trunk:sbc", "trunk:carrier", "ann"]),
            sdp=rng.choice(offers),
        )  # fmt: skip
        client.siprec, client.metadata = True, rng.choice(documents)
        server.manager.on_invite(client)  # type: ignore[arg-type]
        for _ in range(rng.randrange(8)):
            if rng.random() < 0.5:
                await server.settle()
            match rng.randrange(7):
                case 0 | 1 | 2:
                    client.tell(Reoffer(rng.choice(offers), rng.choice(documents)))
                case 3:
                    client.tell(MetadataReceived(rng.choice(documents) or b""))
                case 4:
                    for handle in list(server.engine.legs):
                        server.manager.on_media_event(MediaSilent(handle, rng.random() < 0.7))
                case 5:
                    for recording in server.recorder.recordings:
                        if recording.on_failure is not None and not recording.ended and rng.random() < 0.3:
                            recording.on_failure("slow_disk")
                case _:
                    await server.wait(rng.uniform(0, 40))
        client.tell(rng.choice([Ended(False), Cancelled(), Ended(False)]))
        for _ in range(20):  # sixteen streams take more turns of the loop to close than two
            await server.settle()
        endings = [name for name in client.names() if name in ("reject", "hang_up")]
        assert len(endings) <= 1, client.names()
        assert len(server.manager) == 0
        assert server.engine.legs == {}
