"""Reads the configuration: a TOML file, then the environment over it, into `Settings`; refuses with places and fixes.

Owns where a value came from (file and line, or variable) and the wording of every refusal: all wrong keys are told at
once, each as `file:line: key is value; what is allowed; what to try`. What values are allowed stands in `settings`,
what must fit together in `settings_checks`. A secret's value is never part of a text made here.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from mediaserver.errors import ConfigError
from mediaserver.settings import Settings
from mediaserver.settings_checks import Check, cross_checks

ENVIRONMENT_PREFIX = "MEDIASERVER_"
Key = tuple[str, ...]  # ("media", "port_range"); ("trunks", "carrier", "uri")


@dataclass(slots=True)
class _Source:
    """Values as read, before they are judged, and where each came from."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Key, str] = field(default_factory=dict)  # "var/mediaserver.toml:41", "environment MEDIASERVER_…"
    file: str = "configuration"

    def place(self, key: Key) -> str:
        for length in range(len(key), 0, -1):
            if key[:length] in self.places:
                return self.places[key[:length]]
        return self.file


def load(path: Path | None, environ: Mapping[str, str], more_checks: Sequence[Check] = ()) -> Settings:
    """Settings from `path` (None: defaults only) overridden by `environ`.

    Relative paths written in the file are taken from the file's own folder; those in the environment, and defaults,
    from the working directory. more_checks: of rooms that settings may not know, e.g. which tones there are.
    Raises ConfigError: one line for each thing that is wrong.
    """
    source = _read_file(path) if path is not None else _Source()
    problems = _overlay_environment(source, environ)
    _empty_means_unset(source.values)
    wrong: set[Key] = set()
    try:
        settings = Settings.model_validate(source.values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = tuple(str(part) for part in detail["loc"])
            wrong.add(key[:2] if key[0] != "trunks" else key[:3])
            problems.append(f"{source.place(key)}: {_explain(key, detail)}")
        # What is right is still held against the rest, so that one run shows everything.
        settings = Settings.model_validate(_without(source.values, wrong))
    for complaint in cross_checks(settings, more_checks):
        if not any(key == bad[: len(key)] for key in complaint.keys for bad in wrong):
            name = ".".join(complaint.keys[0])
            problems.append(f"{source.place(complaint.keys[0])}: {name} {complaint.text}")
    if problems:
        raise ConfigError("\n".join(sorted(problems, key=_reading_order)))
    return settings if path is None else _with_routing_beside(settings, path)


def _with_routing_beside(settings: Settings, path: Path) -> Settings:
    beside = path.with_name("routing.toml")
    if settings.routing.file is not None or not beside.is_file():
        return settings
    return settings.model_copy(update={"routing": settings.routing.model_copy(update={"file": beside})})


def _reading_order(problem: str) -> tuple[bool, int]:
    """The file from top to bottom, then the environment."""
    line = re.match(r"[^:]*:(\d+):", problem)
    return problem.startswith("environment "), int(line[1]) if line else 0


def _read_file(path: Path) -> _Source:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name another with --config FILE") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        what = re.sub(r" \(at .*\)$", "", str(error))
        raise ConfigError(f"{where}: not TOML: {what}; write key = value, text in double quotes") from error
    source = _Source(values, file=str(path))
    for key, line_number in key_lines(text):
        source.places.setdefault(key, f"{path}:{line_number}")
    _anchor_paths(values, path.parent)
    return source


_HEADER = re.compile(r"\s*\[\[?\s*([^\]#]+?)\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)


def key_lines(text: str) -> Iterator[tuple[Key, int]]:
    """Every table and key of a valid TOML text with its line, from 1. Keys of inline tables are not listed."""
    table: Key = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:  # inside a multi-line string
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            table = _split_key(header[1])
            yield table, number
        elif assignment := _ASSIGNMENT.match(line):
            yield table + _split_key(assignment[1]), number
            value = line[assignment.end() :]
            closing = next((q for q in ('"""', "'''") if value.count(q) == 1), "")


def _split_key(text: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in text.split("."))


def _overlay_environment(source: _Source, environ: Mapping[str, str]) -> list[str]:
    problems = []
    meant = {f"{ENVIRONMENT_PREFIX}{s}_{k}".upper(): f"{ENVIRONMENT_PREFIX}{s}__{k}".upper() for s, k in _all_keys()}
    for variable, text in sorted(environ.items()):
        if variable in meant:
            problems.append(
                f"environment {variable}: two underscores part section and key; did you mean {meant[variable]}?"
            )
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable:
            continue  # others use the prefix too: a container platform names its services' addresses so
        key = tuple(variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
        try:
            value = _environment_value(key, text)
        except ValueError as error:
            problems.append(f"environment {variable}: {error}")
            continue
        table = source.values
        for part in key[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                problems.append(f"environment {variable}: {part} is no section")
                break
        else:
            table[key[-1]] = value
            source.places[key] = f"environment {variable}"
    return problems


def _environment_value(key: Key, text: str) -> Any:
    """Lists are written a,b,c or as JSON; all else is left to the model, which reads numbers and yes/no from text."""
    annotation = _annotation(key)
    if typing.get_origin(annotation) is not list:
        return text
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not a JSON list ({error.msg}); write a,b,c") from error
    return [part.strip() for part in text.split(",") if part.strip()]


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield name, info.annotation


def _all_keys() -> Iterator[Key]:
    for section, model in _sections():
        for key in model.model_fields:
            yield section, key


def _annotation(key: Key) -> Any:
    """The type a key must have, None when there is no such key."""
    model: Any = Settings
    for part in key:
        if typing.get_origin(model) is dict:  # [trunks.NAME]: any name, then the model of the values
            model = typing.get_args(model)[1]
            continue
        info = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if info is None:
            return None
        model = info.annotation
    return model


def _is_optional(annotation: Any) -> bool:
    return isinstance(annotation, types.UnionType) and type(None) in typing.get_args(annotation)


def _leaves(values: dict[str, Any], key: Key = ()) -> Iterator[tuple[Key, dict[str, Any]]]:
    for name, value in list(values.items()):
        if isinstance(value, dict):
            yield from _leaves(value, (*key, name))
        else:
            yield (*key, name), values


def _empty_means_unset(values: dict[str, Any]) -> None:
    """TOML and the environment have no null: an empty text stands for it where a setting may be absent."""
    for key, table in _leaves(values):
        if table[key[-1]] == "" and _is_optional(_annotation(key)):
            table[key[-1]] = None


def _anchor_paths(values: dict[str, Any], folder: Path) -> None:
    for key, table in _leaves(values):
        annotation, value = _annotation(key), table[key[-1]]
        is_path = annotation is Path or (_is_optional(annotation) and Path in typing.get_args(annotation))
        if is_path and isinstance(value, str) and value:
            table[key[-1]] = folder / Path(value).expanduser()


def _without(values: dict[str, Any], wrong: set[Key]) -> dict[str, Any]:
    def copy(table: dict[str, Any], key: Key) -> dict[str, Any]:
        return {
            name: copy(value, (*key, name)) if isinstance(value, dict) else value
            for name, value in table.items()
            if (*key, name) not in wrong and not _loses_all(value, (*key, name), wrong)
        }

    return copy(values, ())


def _loses_all(value: Any, key: Key, wrong: set[Key]) -> bool:
    """A trunk with one wrong key is left out whole: what is left of it may lack what it needs."""
    return len(key) == 2 and key[0] == "trunks" and any(bad[:2] == key for bad in wrong)


def _explain(key: Key, detail: ErrorDetails) -> str:
    name = ".".join(key)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _explain_unknown(key)
    if kind == "missing":
        return f"{name} is missing; it has no default; add a line {key[-1]} = …"
    annotation = _annotation(key)
    shown = "(hidden)" if annotation is SecretStr else _shown(detail["input"])
    allowed = _allowed(key, kind, context, detail["msg"])
    return f"{name} is {shown}; {allowed}"


def _shown(value: Any) -> str:
    """A wrong value as it was written; of a table only that it is one, since a secret may lie in it."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        return "a list of tables"
    return json.dumps(value, ensure_ascii=False, default=str)


def _explain_unknown(key: Key) -> str:
    parent, word = key[:-1], key[-1]
    model = _annotation(parent) if parent else Settings
    known = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    what = f"there is no setting {'.'.join(key)}" if parent else f"there is no section [{word}]"
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"{what}; did you mean {near[0]}?"
    for section, setting in _all_keys():
        if setting == word:
            return f"{what}; did you mean {setting} in [{section}]?"
    return f"{what}; allowed: {', '.join(known)}"


def _bounds(key: Key) -> tuple[Any, Any]:
    model = _annotation(key[:-1])
    info = model.model_fields.get(key[-1]) if isinstance(model, type) and issubclass(model, BaseModel) else None
    low = high = None
    for rule in info.metadata if info else []:
        rules = rule.metadata if hasattr(rule, "metadata") else [rule]
        for part in rules:
            low = getattr(part, "ge", low) if getattr(part, "ge", None) is not None else low
            high = getattr(part, "le", high) if getattr(part, "le", None) is not None else high
    return low, high


def _allowed(key: Key, kind: str, context: Mapping[str, Any], message: str) -> str:
    low, high = _bounds(key)
    span = f"{low} to {high}" if high is not None else f"{low} or more"
    if kind in ("greater_than_equal", "less_than_equal"):
        nearest = low if kind == "greater_than_equal" else high
        return f"allowed: {span}; try {nearest}"
    if kind == "literal_error":
        return f"allowed: {context['expected']}"
    if kind.startswith(("int_", "float_")):
        number = "a whole number" if kind.startswith("int_") else "a number"
        return f"it must be {number}" + (f", {span}" if low is not None else "")
    if kind.startswith("bool_"):
        return "allowed: true or false"
    if kind in ("list_type", "model_type", "dict_type", "model_attributes_type"):
        wanted = 'a list: ["a", "b"]' if kind == "list_type" else f"a section: [{'.'.join(key)}] with lines of its own"
        return f"it must be {wanted}"
    if kind == "string_type":
        return "it must be text in double quotes"
    if kind == "string_pattern_mismatch":
        return f"it must look like {context['pattern']}"
    return message[0].lower() + message[1:]
