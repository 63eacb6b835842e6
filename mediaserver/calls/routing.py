"""Routing: which rule a dialled number falls to. Owns reading and checking routing.toml and the match; runs nothing.

A rule names numbers, who may dial them and one target: a program, users, a trunk or a conference. The first rule that
matches number and caller wins. `docs/call-programs.md` explains the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mediaserver.errors import ConfigError
from mediaserver.limits import ROUTING_RULES_MAX

_NUMBER_CHARACTERS_MAX = 128  # what a number is matched against: bounds a slow regular expression
_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")
_SENDABLE = re.compile(r"[A-Za-z0-9+*#._-]*")  # what a trunk may be given as a number: nothing a URI could turn on
_CALLER = re.compile(r"anyone|users|trunks|(user|trunk):.+")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class Rule(BaseModel):
    """One [[route]] of the file; a wrong key or value is refused with its line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    number: list[str] | str
    callers: list[str] | str | None = None
    program: Name | None = None
    user: str | None = None
    users: list[str] = []
    trunk: str | None = None
    conference: str | None = None
    language: Literal["en", "ru"] | None = None
    record: bool = False
    record_to: str | None = None  # trunk of a recorder (SIPREC) that gets a copy of what is recorded
    consent: Name | None = None  # name of the policy that covers it, see config/consent
    ring_timeout_s: Annotated[int, Field(ge=1, le=3_600)] | None = None
    strip: Annotated[int, Field(ge=0, le=64)] = 0
    prepend: Annotated[str, Field(pattern=rf"^{_SENDABLE.pattern}$")] = ""
    caller_id: str | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_target(self) -> Rule:
        targets = [key for key in ("program", "user", "users", "trunk", "conference") if getattr(self, key)]
        if len(targets) != 1:
            raise ValueError("name exactly one of program, user, users, trunk, conference")
        if self.record_to is not None and not self.record:
            raise ValueError("record_to sends on what is recorded here: it needs record = true")
        if self.record_to is not None and self.conference is not None:
            raise ValueError("record_to is for calls; rooms are recorded here only")
        for pattern in self.patterns:
            _compile(pattern)
        for caller in self.allowed_callers:
            if not _CALLER.fullmatch(caller):
                raise ValueError(f"callers: {caller!r} is none of anyone, users, trunks, user:NAME, trunk:NAME")
        return self

    @property
    def patterns(self) -> list[str]:
        return [self.number] if isinstance(self.number, str) else self.number

    @property
    def allowed_callers(self) -> list[str]:
        """A call that leaves by a trunk costs money: only our own users, unless the rule says otherwise."""
        if self.callers is None:
            return ["users"] if self.trunk is not None else ["anyone"]
        return [self.callers] if isinstance(self.callers, str) else self.callers

    def admits(self, identity: str | None) -> bool:
        for caller in self.allowed_callers:
            if caller == "anyone":
                return True
            if identity is None:
                continue
            from_trunk = identity.startswith("trunk:")
            if caller == ("trunks" if from_trunk else "users"):
                return True
            if caller == (identity if from_trunk else f"user:{identity}"):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Route:
    """A rule applied to one dialled number."""

    rule: Rule
    number: str = field(repr=False)

    @property
    def program(self) -> str:
        """The program that carries the rule out."""
        if self.rule.program is not None:
            return self.rule.program
        return "conference" if self.rule.conference is not None else "dial"

    @property
    def users(self) -> list[str]:
        names = [self.rule.user] if self.rule.user is not None else self.rule.users
        return [self._fill(name) for name in names]

    @property
    def conference(self) -> str:
        return self._fill(self.rule.conference or "{number}")

    @property
    def outbound_number(self) -> str:
        """What the trunk is given: user parameters and `strip` leading characters off, `prepend` put before."""
        return self.rule.prepend + self._kept

    @property
    def outbound_status(self) -> int | None:
        """Why a trunk rule cannot send this number: 484 nothing is left of it, 404 it is none. None: it can.

        RFC 3261 §21.4.22. A user part with "@" or the like could lead the call to another host.
        """
        if self.rule.trunk is None or (self._kept and sendable(self._kept)):
            return None
        return 404 if self._kept else 484

    @property
    def _kept(self) -> str:
        return self.number.partition(";")[0][self.rule.strip :]

    def _fill(self, text: str) -> str:
        return text.replace("{number}", self.number)


def sendable(number: str) -> bool:
    """Whether a trunk may be given this as the user part of its URI."""
    return bool(number) and _SENDABLE.fullmatch(number) is not None


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: Rule
    patterns: tuple[re.Pattern[str] | tuple[int, int, int], ...]  # a range is (lowest, highest, digits)

    def matches(self, number: str) -> bool:
        for pattern in self.patterns:
            if isinstance(pattern, re.Pattern):
                if pattern.fullmatch(number):
                    return True
            elif (
                len(number) == pattern[2]
                and number.isascii()
                and number.isdigit()
                and pattern[0] <= int(number) <= pattern[1]
            ):
                return True
        return False


def _compile(pattern: str) -> re.Pattern[str] | tuple[int, int, int]:
    """`600` exact · `700-799` range · `9*` prefix · `*` anything · `/regex/` the whole number."""
    if not pattern:
        raise ValueError("number: an empty pattern matches nothing")
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            return re.compile(pattern[1:-1])
        except re.error as error:
            raise ValueError(f"number: {pattern} is no regular expression: {error}") from None
    found = _RANGE.fullmatch(pattern)
    if found:
        low, high = found[1], found[2]
        if len(low) != len(high) or int(low) > int(high):
            raise ValueError(f"number: {pattern} must run from low to high with equally many digits")
        return int(low), int(high), len(low)
    if pattern.endswith("*") and not pattern[:-1].endswith("\\"):
        return re.compile(re.escape(pattern[:-1]) + ".*")
    return re.compile(re.escape(pattern.replace("\\*", "*")))


class RoutingTable:
    """All rules in order. Immutable: a reload makes a new one, running calls keep what they have."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._compiled = [_Compiled(rule, tuple(_compile(p) for p in rule.patterns)) for rule in rules]

    def find(self, number: str, identity: str | None) -> Route | None:
        """The first rule for this number that admits this caller."""
        if not number or len(number) > _NUMBER_CHARACTERS_MAX:
            return None
        for compiled in self._compiled:
            if compiled.matches(number) and compiled.rule.admits(identity):
                return Route(compiled.rule, number)
        return None

    def forbids(self, number: str, identity: str | None) -> bool:
        """Whether some rule has this number but none of those admits this caller: 403 instead of 404."""
        return (
            bool(number)
            and len(number) <= _NUMBER_CHARACTERS_MAX
            and any(c.matches(number) for c in self._compiled)
            and self.find(number, identity) is None
        )


def route_or_status(table: RoutingTable, number: str, identity: str | None) -> Route | int:
    """Where this number leads this caller, or the status to refuse it with: 403, 404, 484."""
    route = table.find(number, identity)
    if route is None:
        return 403 if table.forbids(number, identity) else 404
    return route.outbound_status or route


def read_routing(path: Path, trunks: Sequence[str] = (), programs: Collection[str] | None = None) -> RoutingTable:
    """Reads and checks the file. Raises ConfigError starting with `file:line:`.

    trunks, programs: names that exist; programs None: any name will do.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}:1: cannot be read: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        raise ConfigError(f"{path}:{found[1] if found else 1}: not TOML: {error}") from None
    lines = text.splitlines()
    for key in data:
        if key != "route":
            raise ConfigError(f"{path}:{_line(lines, 0, key)}: {key}: only [[route]] tables are known here")
    entries = data.get("route", [])
    if not isinstance(entries, list) or len(entries) > ROUTING_RULES_MAX:
        raise ConfigError(f"{path}:1: route: write up to {ROUTING_RULES_MAX} rules, each under its own [[route]]")
    starts = [i for i, line in enumerate(lines) if re.match(r"\s*\[\[\s*route\s*\]\]", line)]
    rules: list[Rule] = []
    for index, entry in enumerate(entries):
        start = starts[index] if index < len(starts) else 0
        rule = _read_rule(path, lines, start, entry)
        for key, trunk in (("trunk", rule.trunk), ("record_to", rule.record_to)):
            if trunk is not None and trunk not in trunks:
                known = ", ".join(trunks) or "none is configured"
                line = _line(lines, start, key)
                raise ConfigError(f"{path}:{line}: {key}: no [trunks.{trunk}] in the configuration; known: {known}")
        if rule.program is not None and programs is not None and rule.program not in programs:
            known = ", ".join(sorted(programs))
            line = _line(lines, start, "program")
            text = f"{rule.program!r} is neither shipped nor in routing.programs_dir; known: {known}"
            raise ConfigError(f"{path}:{line}: program: {text}")
        if any(rule.name == other.name for other in rules):
            raise ConfigError(f"{path}:{_line(lines, start, 'name')}: name: {rule.name!r} is used twice")
        rules.append(rule)
    return RoutingTable(rules)


def _read_rule(path: Path, lines: list[str], start: int, entry: object) -> Rule:
    try:
        return Rule.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            text = f"unknown key; known: {', '.join(Rule.model_fields)}"
        elif first["type"] == "missing":
            text = f"is missing; every [[route]] needs it; add a line {key} = …"
        raise ConfigError(f"{path}:{_line(lines, start, key)}: {f'{key}: ' if key else ''}{text}") from None


def _line(lines: list[str], start: int, key: str) -> int:
    """Line number (from 1) of `key` in the table that begins at index `start`; that table's own line if not found."""
    for index in range(start, len(lines)):
        if index > start and lines[index].lstrip().startswith("[["):
            break
        if key and re.match(rf"\s*\[*\s*{re.escape(key)}\b", lines[index]):
            return index + 1
    return start + 1
