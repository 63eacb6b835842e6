"""The stand-ins keep the signatures of what they stand for."""

from __future__ import annotations

import inspect

import pytest

from mediaserver.media.engine import MediaEngine
from mediaserver.media.prompts import PromptLibrary
from mediaserver.sip.session import InviteSession
from mediaserver.sip.ua import UserAgent
from tests.support.fake_sessions import FakeGateway, FakeSession
from tests.support.fakes import FakeEngine, FakePrompts


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (FakeEngine, MediaEngine),
        (FakeSession, InviteSession),
        (FakeGateway, UserAgent),
        (FakePrompts, PromptLibrary),
    ],
)
def test_a_fake_takes_what_the_real_one_takes(fake: type, real: type) -> None:
    shared = 0
    for name, method in inspect.getmembers(fake, inspect.isfunction):
        if name.startswith("_") or not hasattr(real, name):
            continue
        ours, theirs = inspect.signature(method), inspect.signature(getattr(real, name))
        taken = [(p.name, p.kind, p.default) for p in ours.parameters.values()]
        assert taken == [(p.name, p.kind, p.default) for p in theirs.parameters.values()], name
        assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(getattr(real, name)), name
        shared += 1
    assert shared > 0
