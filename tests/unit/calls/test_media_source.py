"""From where a leg's media may come: what SDP says, or where the party signals from, unless its trunk says more."""

from pathlib import Path

import pytest

from tests.unit.calls.stage import Stage


@pytest.mark.parametrize(
    ("identity", "media_from", "host"),
    [
        ("alice", "anywhere", "192.0.2.7"),
        ("trunk:carrier", "signalled", "192.0.2.7"),
        ("trunk:carrier", "anywhere", ""),
    ],
)
async def test_the_media_plane_is_told_where_the_party_signals_from(
    tmp_path: Path, identity: str, media_from: str, host: str
) -> None:
    stage = Stage(tmp_path, trunks={"carrier": {"uri": "sip:carrier.example", "media_from": media_from}})
    await stage.call("602", identity=identity)
    assert [stream.signalling_host for stream in stage.leg().streams] == [host]
    assert stage.leg().spirals == identity.startswith("trunk:"), "only a trunk may send a call back to our own ports"
    await stage.close()
