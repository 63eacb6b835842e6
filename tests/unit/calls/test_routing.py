"""Routing rules: what a number and a caller lead to, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.calls.routing import RoutingTable, Rule, read_routing
from mediaserver.calls.watch import RoutingFile
from mediaserver.errors import ConfigError
from mediaserver.settings import SHIPPED_CONFIG_DIR


def table(*numbers: str, **rule: object) -> RoutingTable:
    target = {} if "trunk" in rule else {"program": "echo"}
    return RoutingTable(
        [Rule.model_validate({"name": f"r{i}", "number": number} | target | rule) for i, number in enumerate(numbers)]
    )


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("600", ["600"], ["6000", "60", "", "600 "]),
        ("700-799", ["700", "750", "799"], ["699", "800", "0700", "7x0", "٧٠٠", "7000"]),
        ("9*", ["9", "9812", "9#"], ["8", "89"]),
        ("*", ["1", "bob", "+7"], [""]),
        (r"/\+7\d{3}/", ["+7123"], ["+71234", "7123"]),
        ("+7", ["+7"], ["7"]),
        (r"\*21", ["*21"], ["x21"]),
    ],
)
def test_a_pattern_matches_whole_numbers(pattern: str, yes: list[str], no: list[str]) -> None:
    rules = table(pattern)
    assert all(rules.find(number, None) for number in yes)
    assert not any(rules.find(number, None) for number in no)


def test_the_first_fitting_rule_wins() -> None:
    route = table("600", "6*", "*").find("600", None)
    assert route is not None
    assert route.rule.name == "r0"


@pytest.mark.parametrize(
    ("callers", "identity", "admitted"),
    [
        ("anyone", None, True),
        ("users", None, False),
        ("users", "bob", True),
        ("users", "trunk:x", False),
        ("trunks", "trunk:x", True),
        ("trunks", "bob", False),
        ("user:bob", "bob", True),
        ("user:bob", "eve", False),
        ("trunk:x", "trunk:x", True),
        ("trunk:x", "trunk:y", False),
        (["user:eve", "trunks"], "eve", True),
    ],
)
def test_callers_are_admitted_by_identity(callers: object, identity: str | None, admitted: bool) -> None:
    rules = table("1", callers=callers)
    assert (rules.find("1", identity) is not None) is admitted
    assert rules.forbids("1", identity) is not admitted


def test_a_trunk_is_for_our_own_users_unless_said_otherwise() -> None:
    assert table("1", trunk="x").find("1", None) is None
    assert table("1", trunk="x").find("1", "trunk:x") is None
    assert table("1", trunk="x", callers="anyone").find("1", None) is not None


def test_an_endless_number_matches_nothing() -> None:
    assert table("*").find("1" * 129, None) is None


def test_the_number_is_filled_in_stripped_and_prefixed() -> None:
    rule = Rule.model_validate({"name": "x", "number": "*", "trunk": "t", "strip": 1, "prepend": "00"})
    route = RoutingTable([rule]).find("9123", "bob")
    assert route is not None
    assert route.outbound_number == "00123"
    user = Rule.model_validate({"name": "x", "number": "*", "users": ["{number}", "desk"]})
    found = RoutingTable([user]).find("bob", None)
    assert found is not None
    assert found.users == ["bob", "desk"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1\n", 1, "only [[route]]"),
        ("[[route]]\nname =\n", 2, "not TOML"),
        ('[[route]]\nname = "a"\nnumber = "1"\n', 1, "exactly one of program"),
        ('[[route]]\nname = "a"\nnumber = "1"\nprogram = "x"\ntrunk = "t"\n', 1, "exactly one of"),
        ('[[route]]\nname = "a"\nnumber = "1"\nprogramme = "x"\n', 4, "unknown key"),
        ('[[route]]\nname = "A b"\nnumber = "1"\nprogram = "x"\n', 2, "name:"),
        ('[[route]]\nname = "a"\nnumber = "/(/"\nprogram = "x"\n', 1, "no regular expression"),
        ('[[route]]\nname = "a"\nnumber = "9-1"\nprogram = "x"\n', 1, "low to high"),
        ('[[route]]\nname = "a"\nnumber = "1"\ntrunk = "nowhere"\n', 4, "known: carrier"),
        ('[[route]]\nname = "a"\nnumber = "1"\nprogram = "x"\ncallers = "me"\n', 1, "callers"),
        ('[[route]]\nname = "a"\nnumber = "1"\nprogram = "x"\nlanguage = "fr"\n', 5, "language"),
        (
            '[[route]]\nname = "a"\nnumber = "1"\nprogram = "x"\n\n'
            '[[route]]\nname = "a"\nnumber = "2"\nprogram = "x"\n',
            7,
            "used twice",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "routing.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_routing(path, ["carrier"])
    assert str(caught.value).startswith(f"{path}:{line}:")
    assert says in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_routing(tmp_path / "none.toml")


def test_the_shipped_rules_lead_to_the_numbers_people_rely_on() -> None:
    rules = read_routing(SHIPPED_CONFIG_DIR / "routing.toml")
    found = {number: rules.find(number, "bob") for number in ("600", "601", "602", "700", "799", "bob")}
    programs = {number: route.program for number, route in found.items() if route is not None}
    assert programs == {
        "600": "echo",
        "601": "welcome",
        "602": "message",
        "700": "conference",
        "799": "conference",
        "bob": "dial",
    }


def test_a_bad_change_keeps_the_former_rules(tmp_path: Path) -> None:
    path = tmp_path / "routing.toml"
    path.write_text('[[route]]\nname="a"\nnumber="1"\nprogram="echo"\n', "utf-8")
    rules = RoutingFile(path, [])
    rules.load()
    path.write_text("[[route]]\nbroken", "utf-8")
    assert not rules.reload()
    assert rules.table.find("1", None) is not None
    path.write_text('[[route]]\nname="a"\nnumber="2"\nprogram="echo"\n', "utf-8")
    assert rules.reload()
    assert rules.table.find("1", None) is None


def test_a_program_that_does_not_exist_is_refused_until_its_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "routing.toml"
    path.write_text('[[route]]\nname="a"\nnumber="1"\nprogram="echo"\n', "utf-8")
    rules = RoutingFile(path, [], tmp_path)
    rules.load()
    path.write_text('[[route]]\nname="a"\nnumber="2"\nprogram="mine"\n', "utf-8")
    assert not rules.reload()
    assert rules.table.find("1", None) is not None
    with pytest.raises(ConfigError, match=r"routing.toml:4: program: 'mine' is neither .* known: conference, dial"):
        rules.load()
    (tmp_path / "mine.py").write_text("async def program(call): ...\n", "utf-8")
    assert rules.reload()
    assert rules.table.find("2", None) is not None
