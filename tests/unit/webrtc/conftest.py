"""Time is virtual here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"virtual": VirtualLoop}
