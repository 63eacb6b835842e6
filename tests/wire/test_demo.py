"""The demo's people call through a server by SIP and RTP, and what they did stands in its catalogue."""

from __future__ import annotations

import re
from pathlib import Path

from mediaserver.cli_common import load_settings
from mediaserver.cli_demo import _users
from mediaserver.demo.place import SERVER_HOST, OwnServer
from mediaserver.demo.plan import AGENTS, Hold, Person, Planned, Say, Transfer
from mediaserver.demo.run import found_calls, place_calls
from mediaserver.demo.scene import Outcome
from mediaserver.demo.speech import Speech
from mediaserver.media.prompts import PromptLibrary
from mediaserver.settings import SHIPPED_CONFIG_DIR
from mediaserver.store.calls import CallStore
from mediaserver.store.database import open_database
from tests.support.speech import tone

CUSTOMER = Person("en", "en", ("PCMA",))
PLAN = (
    Planned(
        "+442079460101", "Kate", CUSTOMER, "8002", "demo-carol", "demo-henry",
        steps=(Say("caller", "Hello"), Hold(0.3, told=False), Transfer(), Say("second", "Good bye")),
    ),
    Planned("+442079460104", "Anon", CUSTOMER, "8002", hangs_up_s=0.5),
)  # fmt: skip


class Beeps(Speech):
    """Every line is a beep."""

    def __init__(self, beep: Path) -> None:
        super().__init__(beep.parent, PromptLibrary([SHIPPED_CONFIG_DIR / "prompts"]), "")
        self._beep = beep

    async def line(self, voice: str, language: str, text: str) -> Path:
        return self._beep


async def test_a_call_held_and_transferred_and_one_given_up_are_found_as_they_went(tmp_path: Path) -> None:
    own = OwnServer(tmp_path)
    own.write()
    rules = (tmp_path / "routing.toml").read_text()
    (tmp_path / "routing.toml").write_text(re.sub('consent = "uk"', 'consent = "prior-contract"', rules))  # no notice
    settings = load_settings(own.config)
    told: list[Outcome] = []
    try:
        async with _users(settings, with_customers=False) as passwords:
            assert set(passwords) == set(AGENTS)
            await own.start()
            speech = Beeps(tone(tmp_path / "beep.wav", 400, 0.4, 8_000))
            server = f"{SERVER_HOST}:{own.sip_port}"
            outcomes = await place_calls(server, SERVER_HOST, passwords, speech, told.append, PLAN)
            assert [outcome.problem for outcome in outcomes] == ["", ""]
            assert len(told) == 2
            database = await open_database(settings.store.url, settings.server.data_dir)
            try:
                (found,) = await found_calls(database, 0)
                rows = await CallStore(database).list()
                call = await CallStore(database).show(found.call_id)
            finally:
                await database.close()
    finally:
        await own.stop()
    assert (found.queue, found.agent, found.consent) == ("demo-sales", "demo-carol", "granted")
    assert {(row.route, row.answered_ms is not None) for row in rows} == {("demo-sales", True)}
    assert len(rows) == 2
    assert call is not None
    talked = [leg for leg in call.legs if leg["answered_ms"] is not None]
    assert [leg["identity"] for leg in talked] == ["trunk:demo-carrier", "demo-carol", "demo-henry"]
    assert min(leg["stats"]["packets_received"] for leg in talked) > 10
