"""Consent policies: which one covers a call, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mediaserver.errors import ConfigError
from mediaserver.model import Masked
from mediaserver.model_consent import DEFAULT_RULES, ConsentCase
from mediaserver.recording.policy import NOTHING, load_policies
from mediaserver.settings import SHIPPED_CONFIG_DIR, RecordingSettings

HEAD = 'title = "T"\nsource = "a law that is somewhere"\nadvice = "ask your lawyer"\n'
PURPOSE = "[[policy.a.purposes]]\nname = 'training'\n"


def load(**settings: Any) -> Any:
    return load_policies(RecordingSettings(**settings))


def case(*numbers: str, **values: Any) -> ConsentCase:
    return ConsentCase(numbers=tuple(map(Masked, numbers)), **values)


def test_the_default_is_announce_and_stay() -> None:
    policies = load()
    assert policies.find(case("100", "200")) == policies.rules["announce-and-stay"]
    assert policies.rules["announce-and-stay"] == DEFAULT_RULES
    assert set(policies.rules) >= {"announce", "announce-and-press", "prior-contract", "both-parties", "never"}


def test_every_shipped_file_names_its_source_and_sends_to_a_lawyer() -> None:
    paths = sorted((SHIPPED_CONFIG_DIR / "consent").glob("*.toml"))
    assert [path.stem for path in paths] == ["basic", "eu", "latvia", "russia", "uk", "us"]
    for path in paths:
        text = path.read_text("utf-8")
        assert "\nsource = " in text
        assert "ask your lawyer" in text


@pytest.mark.parametrize(
    ("profiles", "numbers", "policy"),
    [
        (["us"], ("+1 (415) 555-0100", "602"), "us-all-party"),  # California
        (["us"], ("+12125550100", "602"), "us-one-party"),  # New York
        (["us"], ("+12125550100", "+14155550100"), "us-all-party"),  # the strictest of both
        (["us"], ("0014155550100", "602"), "us-all-party"),
        (["us"], ("4155550100", "602"), "us-all-party"),  # as an American trunk sends it
        (["us"], ("2125550100", "602"), "announce-and-stay"),  # may be anything
        (["us", "eu"], ("3725550100", "602"), "eu"),  # Estonia
        (["eu"], ("011493012345678", "602"), "eu"),
        (["us"], ("101", "102"), "announce-and-stay"),
        (["latvia", "eu"], ("+37120000001", "602"), "latvia"),
        (["eu"], ("+4930123456", "602"), "eu"),
        (["eu"], ("+447700900123", "602"), "announce-and-stay"),
        (["uk"], ("+447700900123", "602"), "uk"),
        (["russia"], ("+79161234567", "602"), "russia"),
        (["russia"], ("+77012345678", "602"), "announce-and-stay"),  # Kazakhstan
        (["us"], ("anonymous", ""), "announce-and-stay"),
    ],
)
def test_the_number_of_either_side_decides(profiles: list[str], numbers: tuple[str, ...], policy: str) -> None:
    assert load(consent_profiles=profiles).find(case(*numbers)).name == policy


def test_a_routing_rule_wins_and_an_unknown_policy_records_nothing() -> None:
    policies = load(consent_profiles=["us"])
    assert policies.find(case("+14155550100", policy="both-parties")).name == "both-parties"
    assert policies.find(case("+14155550100", policy="misspelt")) == NOTHING


def test_an_operators_own_file_matches_by_queue_trunk_and_direction(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        HEAD + '[policy.strict]\nask = "press"\non_failure = "closed"\n[policy.announce]\nask = "never"\n'
        '[[match]]\npolicy = "strict"\nroute = "claims"\ntrunk = "carrier"\ndirection = "in"\n'
        '[[match]]\npolicy = "announce"\ndirection = "out"\n'
    )
    policies = load(consent_dir=tmp_path, consent_profiles=["own"], consent_policy="announce-and-press")
    found = policies.find(case("1", route="claims", trunk="carrier", direction="in"))
    assert (found.name, found.on_failure) == ("strict", "closed")
    assert policies.find(case("1", route="claims", trunk="other", direction="in")).name == "announce-and-press"
    assert policies.find(case("1", direction="out")).ask == "never"  # its own policy took the shipped one's place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", r"own\.toml:1: cannot be read"),
        ('title = "T"\n', r"source"),
        (HEAD + '[policy.a]\nask = "hope"\n', r"policy\.a\.ask: .*announce"),
        (HEAD + "[policy.a]\ncolour = 1\n", r"policy\.a\.colour: unknown key; known: about, after_hold"),
        (HEAD + PURPOSE + "colour = 1\n", r"policy\.a\.purposes\.colour: unknown key"),
        (HEAD + PURPOSE + 'ask = "hope"\n', r"policy\.a\.purposes\.0\.ask"),
        (HEAD + PURPOSE + 'listeners = ["boss"]\n', r"listeners: 'boss' is no role; known: qa, supervisor"),
        (HEAD + PURPOSE + "[[policy.a.purposes]]\nname = 'training'\n", r"named twice"),
        (HEAD + "[[policy.a.purposes]]\nname = 'A B'\n", r"a purpose is named by"),
        (HEAD + '[[match]]\npolicy = "nowhere"\n', r"there is no policy 'nowhere'; known:"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(consent_dir=tmp_path, consent_profiles=["own"])


def test_each_purpose_says_how_it_is_asked_for_and_the_policy_what_it_leaves_open() -> None:
    rules = load(consent_policy="quality-and-training").find(case("1"))
    contract, training = rules.each()
    assert (contract.ask, contract.retention_days, contract.listeners) == ("stay", 1_095, ("supervisor", "admin"))
    assert (training.ask, training.agree_key, training.lawful_basis) == ("press", "1", "consent")
    assert (rules.asking("press"), rules.asking("stay", "press")) == (("training",), ("contract", "training"))
    (only,) = load(consent_policy="announce-and-press").find(case("1")).each()  # one that names none is one itself
    assert (only.name, only.ask, only.lawful_basis) == ("recording", "press", "consent")


def test_a_profile_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file mars\.toml; known: basic, eu"):
        load(consent_profiles=["mars"])
    with pytest.raises(ConfigError, match="there is no policy 'x'"):
        load(consent_policy="x")
