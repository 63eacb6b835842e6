"""What the demo's people say: by a synthesizer, once for each line; by shipped prompts where there is none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mediaserver.demo.speech import STAND_INS, Speech
from mediaserver.errors import PromptError
from mediaserver.media.prompts import PromptLibrary
from mediaserver.settings import SHIPPED_CONFIG_DIR

PROMPTS = PromptLibrary([SHIPPED_CONFIG_DIR / "prompts"])


def synthesizer(folder: Path, body: str) -> str:
    path = folder / "say"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_a_line_is_spoken_once_and_another_voice_is_another_file(tmp_path: Path) -> None:
    command = synthesizer(tmp_path, f'echo spoken >>{tmp_path}/count; cat >"$6"')
    speech = Speech(tmp_path / "lines", PROMPTS, command)
    first = await speech.line("en-gb", "en", "Hello; $(rm -rf x)")
    assert first.read_text() == "Hello; $(rm -rf x)"  # by standard input: a text is never part of a command
    assert await speech.line("en-gb", "en", "Hello; $(rm -rf x)") == first
    assert await speech.line("ru", "ru", "Hello; $(rm -rf x)") != first
    assert (tmp_path / "count").read_text().count("spoken") == 2


async def test_without_a_synthesizer_people_say_shipped_prompts_in_their_language(tmp_path: Path) -> None:
    speech = Speech(tmp_path, PROMPTS, "")
    said = [await speech.line("ru", "ru", "любой текст") for _ in STAND_INS]
    assert [path.stem for path in said] == list(STAND_INS)
    assert {path.parent.name for path in said} == {"ru"}


async def test_a_synthesizer_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    command = synthesizer(tmp_path, "echo no such voice >&2; exit 2")
    with pytest.raises(PromptError, match="no such voice"):
        await Speech(tmp_path / "lines", PROMPTS, command).line("xx", "en", "Hello")


async def test_the_greeting_of_the_mailbox_is_as_long_as_its_file(tmp_path: Path) -> None:
    assert 1.0 < await Speech(tmp_path, PROMPTS, "").seconds("message-intro", "en") < 30.0
