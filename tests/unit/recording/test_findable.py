"""When a recording becomes findable, and what of it is known when."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from mediaserver.clock import VirtualClock
from mediaserver.limits import REVIEW_ANALYSIS_CALLS_MAX
from mediaserver.recording.findable import Findable, shares
from mediaserver.store.review import ReviewStore


class FakeStore:
    def __init__(self) -> None:
        self.ended = ["r1", "r2"]
        self.running = {"r2"}
        self.rows: dict[str, dict[str, Any]] = {}

    async def pending(self, since_ms: int, limit: int) -> list[str]:
        return [one for one in self.ended if one not in self.rows]

    async def facts(self, recording_id: str, settled_ms: int) -> dict[str, Any] | None:
        return None if recording_id in self.running else {"recording_id": recording_id, "call_id": "c"}

    async def put(self, columns: dict[str, Any]) -> None:
        self.rows.setdefault(columns["recording_id"], {}).update(columns)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


async def test_a_running_call_waits_and_is_found_after_its_end(store: FakeStore) -> None:
    lanes = json.dumps({"length": 10, "silence": [[0, 2.5]], "overtalk": [[3, 3.5], [4, 4.5]]}).encode()
    busy = REVIEW_ANALYSIS_CALLS_MAX + 1

    async def lanes_of(recording_id: str) -> bytes:
        if recording_id == "r2":
            raise LookupError("erased")
        return lanes

    findable = Findable(cast(ReviewStore, store), lanes_of, lambda: busy, VirtualClock())
    await findable.look()
    assert set(store.rows) == {"r1"}
    await findable.listen()
    assert "silence" not in store.rows["r1"], "with so many calls running nothing is decoded"
    store.running.clear()
    store.ended = []  # too long ago to be asked for again
    await findable.look()
    assert set(store.rows) == {"r1", "r2"}
    busy = 0
    await findable.listen()
    assert (store.rows["r1"]["silence"], store.rows["r1"]["overtalk"]) == (0.25, 0.1)
    assert "silence" not in store.rows["r2"]


def test_shares_stay_between_none_and_all() -> None:
    assert shares('{"length": 0, "silence": [[0, 5]], "overtalk": []}') == (1.0, 0.0)
