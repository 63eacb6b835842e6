"""Runs the tests of the socket driver on both event loops; everything else of the SIP room has no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Factory] | None:
    """uvloop is what the server runs on; its transports differ from asyncio's in closing, buffers and sockets."""
    if item.path.name in ("test_transport.py", "test_websocket.py"):
        return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
    return None
