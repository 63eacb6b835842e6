"""Consent policies as data: reads config/consent/*.toml and says which one covers a call.

Owns the files' form and the match. What a policy means is in `model_consent` and `consent`. Nothing in these files is
legal advice, and each says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mediaserver.errors import ConfigError
from mediaserver.limits import CONSENT_POLICIES_MAX, PURPOSES_MAX
from mediaserver.model_consent import DEFAULT_RULES, ConsentCase, ConsentRules, PurposeRules
from mediaserver.settings import SHIPPED_CONFIG_DIR, RecordingSettings
from mediaserver.store.reviewers import ROLES

log = structlog.get_logger(__name__)
NOTHING = ConsentRules("never", ask="never")
_RULES = TypeAdapter(ConsentRules)
E164_DIGITS_MIN = 8  # with the country: Niue has the shortest; 101 is an extension, not a number in the US
US_AREA_DIGITS = 4  # 1 and the area
_DIGITS = frozenset("0123456789")
_PURPOSE = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)
LISTENERS = tuple(role for role in ROLES if role != "auditor")  # who hears no recording needs no leave
_NATIONAL_US = re.compile(r"[2-9]\d{2}[2-9]\d{6}")  # as trunks in North America send their own country's numbers


class Match(BaseModel):
    """One [[match]] table: all that is named must fit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str
    number: list[str] = []  # prefixes, digits only; any one of them on either side
    trunk: str | None = None
    route: str | None = None
    direction: Literal["in", "out", "inside"] | None = None

    def fits(self, case: ConsentCase, *, national: bool = False) -> bool:
        """national: also by what ten digits without a country would be in North America, as far as areas are named."""
        if self.trunk is not None and self.trunk != case.trunk:
            return False
        if self.route is not None and self.route != case.route:
            return False
        if self.direction is not None and self.direction != case.direction:
            return False
        if not self.number:
            return True
        numbers = [digits for number in case.numbers if (digits := _digits(number))]
        if any(digits.startswith(tuple(self.number)) for digits in numbers):
            return True
        areas = tuple(prefix for prefix in self.number if len(prefix) >= US_AREA_DIGITS)
        return national and any(
            ("1" + digits).startswith(areas) for digits in numbers if _NATIONAL_US.fullmatch(digits)
        )


class PolicyFile(BaseModel):
    """One file. policy: tables by name, checked against ConsentRules when it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    source: Annotated[str, Field(min_length=10)]  # where the law is to be read
    advice: Annotated[str, Field(min_length=10)]  # that a lawyer is to be asked
    policy: dict[str, dict[str, Any]] = {}
    match: list[Match] = []


class Policies:
    """All policies there are, and the matches of the chosen profiles in order."""

    def __init__(self, rules: Mapping[str, ConsentRules], matches: Iterable[Match] = (), default: str = "") -> None:
        self.rules = dict(rules)
        self._matches = tuple(matches)
        self._default = self.rules.get(default, DEFAULT_RULES)

    def find(self, case: ConsentCase) -> ConsentRules:
        """A policy that a routing rule names wins, then the first match, then the default. Unknown names: nothing."""
        if case.policy is not None:
            if case.policy not in self.rules:
                log.error("nothing is recorded: the routing rule names an unknown policy", policy=case.policy)
            return self.rules.get(case.policy, NOTHING)
        for national in (False, True):  # a number with its country is surer than one without
            for match in self._matches:
                if match.fits(case, national=national):
                    return self.rules[match.policy]
        return self._default


def bases_of(rules: Mapping[str, ConsentRules]) -> dict[tuple[str, str], str]:
    """The lawful basis of each purpose, by names of policy and purpose."""
    return {(name, one.name): one.lawful_basis for name, found in rules.items() for one in found.each()}


def load_policies(settings: RecordingSettings) -> Policies:
    """Reads the shipped files and the operator's. Blocking, some ms. Raises ConfigError starting with the file."""
    rules: dict[str, ConsentRules] = {}
    matches: dict[str, list[Match]] = {}
    for folder in (SHIPPED_CONFIG_DIR / "consent", settings.consent_dir):
        for path in sorted(folder.glob("*.toml")) if folder is not None else ():
            file = _read(path)
            matches[path.stem] = file.match
            for name, values in file.policy.items():
                rules[name] = _rules(path, name, values)
    if len(rules) > CONSENT_POLICIES_MAX:
        raise ConfigError(f"recording.consent_dir: {len(rules)} policies; allowed: {CONSENT_POLICIES_MAX}")
    chosen: list[Match] = []
    for profile in settings.consent_profiles:
        if profile not in matches:
            known = ", ".join(sorted(matches))
            raise ConfigError(f"recording.consent_profiles: there is no file {profile}.toml; known: {known}")
        chosen += matches[profile]
    for name in [settings.consent_policy, *(match.policy for match in chosen)]:
        if name not in rules:
            known = ", ".join(sorted(rules))
            raise ConfigError(f"recording.consent_policy: there is no policy {name!r}; known: {known}")
    return Policies(rules, chosen, settings.consent_policy)


def _read(path: Path) -> PolicyFile:
    try:
        return PolicyFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}:1: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _rules(path: Path, name: str, values: Mapping[str, Any]) -> ConsentRules:
    known = {field.name for field in fields(ConsentRules)} - {"name"}
    given = {key: value for key, value in values.items() if key != "about"}
    if unknown := sorted(set(given) - known):
        raise ConfigError(f"{path}: policy.{name}.{unknown[0]}: unknown key; known: about, {', '.join(sorted(known))}")
    _check_purposes(f"{path}: policy.{name}.purposes", given.get("purposes", []))
    try:
        return _RULES.validate_python({"name": name, **given})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: policy.{name}.{where}: {first['msg']}") from None


def _check_purposes(where: str, tables: Any) -> None:
    """What types do not say. Raises ConfigError."""
    known = {field.name for field in fields(PurposeRules)}
    tables = [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
    if len(tables) > PURPOSES_MAX:
        raise ConfigError(f"{where}: {len(tables)} purposes; allowed: {PURPOSES_MAX}")
    for table in tables:
        if unknown := sorted(set(table) - known):
            raise ConfigError(f"{where}.{unknown[0]}: unknown key; known: {', '.join(sorted(known))}")
        if not _PURPOSE.fullmatch(str(table.get("name", ""))):
            raise ConfigError(f"{where}.name: {table.get('name')!r}; a purpose is named by a-z, 0-9, _ and -, up to 32")
        listeners = table.get("listeners", [])
        if strange := [role for role in listeners if role not in LISTENERS]:
            raise ConfigError(f"{where}.listeners: {strange[0]!r} is no role; known: {', '.join(LISTENERS)}")
    names = [table["name"] for table in tables]
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: one purpose is named twice")


def _digits(number: str) -> str:
    """What prefixes are compared with: +1 415 555 0100 and 0014155550100 are 14155550100; an extension is nothing."""
    bare = "".join(character for character in number if character in _DIGITS)
    away = next((prefix for prefix in ("00", "011") if bare.startswith(prefix)), "")
    bare = bare.removeprefix(away)
    return bare if len(bare) >= E164_DIGITS_MIN else ""
