"""Prompts in memory: bounded, the least recently used forgotten first."""

import itertools

import pytest

from mediaserver.errors import PromptError, StaleHandle
from mediaserver.media import shelf
from mediaserver.media.shelf import PromptShelf


def test_what_was_used_longest_ago_is_forgotten_when_the_shelf_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "PROMPT_BYTES_MAX", 1000)
    prompts = PromptShelf(itertools.count(1))
    first, second = (prompts.load_samples(8000, bytes(400)) for _ in range(2))
    prompts.get(first)
    third = prompts.load_samples(8000, bytes(400))
    with pytest.raises(StaleHandle):
        prompts.get(second)
    assert len(prompts.get(first).samples) == len(prompts.get(third).samples) == 400


def test_one_prompt_larger_than_the_shelf_is_kept_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "PROMPT_BYTES_MAX", 1000)
    prompts = PromptShelf(itertools.count(1))
    small, large = prompts.load_samples(8000, bytes(10)), prompts.load_samples(8000, bytes(2000))
    assert len(prompts.get(large).samples) == 2000
    with pytest.raises(StaleHandle):
        prompts.get(small)


@pytest.mark.parametrize(("rate_hz", "size"), [(44_100, 10), (8_000, 11), (8_000, 2 * 8_000 * 601)])
def test_samples_that_cannot_be_played_are_refused(rate_hz: int, size: int) -> None:
    with pytest.raises(PromptError):
        PromptShelf(itertools.count(1)).load_samples(rate_hz, bytes(size))
