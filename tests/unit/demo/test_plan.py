"""The demo's plan holds together: who is called exists, the rules can be read, and everything it promises happens."""

from __future__ import annotations

from pathlib import Path

from mediaserver.calls.watch import RoutingFile
from mediaserver.cli_common import load_settings
from mediaserver.demo import place
from mediaserver.demo.plan import AGENTS, CALLS, QUEUES, VOICEMAIL_NUMBER, Hold, Keys, Transfer
from mediaserver.demo.run import customer_accounts
from mediaserver.recording.policy import load_policies
from mediaserver.settings import Settings

QUEUE_OF = {queue.number: queue for queue in QUEUES}


def test_two_dozen_calls_show_what_the_page_is_for() -> None:
    kinds = {type(step) for call in CALLS for step in call.steps}
    assert len(CALLS) == 24
    assert {Hold, Keys, Transfer} <= kinds
    assert {call.person.language for call in CALLS} == {"en", "ru"}
    assert sum(call.hangs_up_s > 0 for call in CALLS) >= 3
    assert sum(call.key == "2" for call in CALLS) >= 2  # refuses to be recorded
    assert sum(call.network is not None for call in CALLS) >= 4
    assert any(step == Keys("caller", "*9") for call in CALLS for step in call.steps)


def test_every_call_can_be_answered_by_whom_it_is_meant_for() -> None:
    for call in CALLS:
        if call.agent:
            assert call.agent in QUEUE_OF[call.queue].users
        else:
            assert call.hangs_up_s or call.queue == VOICEMAIL_NUMBER
        assert bool(call.second) == any(isinstance(step, Transfer) for step in call.steps)
        assert call.second in ("", *AGENTS)
    assert all(user in AGENTS for queue in QUEUES for user in queue.users)


def test_agents_who_take_transferred_calls_have_none_of_their_own() -> None:
    """Else two transfers could wait for each other."""
    assert not {call.second for call in CALLS if call.second} & {call.agent for call in CALLS}


def test_a_number_is_one_customers_and_nobodys_in_the_world() -> None:
    numbers = [call.caller for call in CALLS]
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        assert number.startswith(("+7000", "+44207946", "+120255501"))
    assert len(set(customer_accounts().values())) == len(numbers)


def test_the_demos_own_configuration_and_rules_are_read_without_complaint(tmp_path: Path) -> None:
    own = place.OwnServer(tmp_path / "demo")
    own.write()
    settings = load_settings(own.config)
    assert settings.sip.host == settings.http.metrics_host == "127.0.0.1"
    assert settings.server.data_dir == tmp_path / "demo" / "data"
    routing = RoutingFile.of(settings)
    routing.load()
    policies = load_policies(Settings().recording).rules
    names = [rule.name for rule in routing.table.rules]
    assert all(name.startswith("demo-") for name in names)
    assert [rule.consent for rule in routing.table.rules if rule.record] == [queue.consent for queue in QUEUES]
    assert {queue.consent for queue in QUEUES} <= set(policies)
