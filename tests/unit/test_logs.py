"""Logs: a line carries its call, hides what is private and never makes its writer wait."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from mediaserver import logs
from mediaserver.limits import LOG_LINES_WAITING_MAX
from mediaserver.model import Masked
from mediaserver.settings import LogSettings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root_handlers, root_level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    yield stream
    logs.shutdown()
    structlog.reset_defaults()
    logging.root.handlers[:] = root_handlers
    logging.root.setLevel(root_level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    logs.shutdown()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_level_and_time(stream: io.StringIO) -> None:
    structlog.get_logger().info("call.answered", codec="opus")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["codec"]) == ("call.answered", "info", "opus")
    assert str(line["timestamp"]).endswith("Z")


async def test_every_line_inside_a_call_carries_its_id_in_tasks_too(stream: io.StringIO) -> None:
    async def program() -> None:
        structlog.get_logger().info("inside")

    with logs.call_context("c-1"):
        task = asyncio.create_task(program())
    structlog.get_logger().info("outside")
    await task
    outside, inside = lines(stream)
    assert inside["call_id"] == "c-1"
    assert "call_id" not in outside


def test_secrets_are_hidden_by_name_by_type_and_by_look(stream: io.StringIO) -> None:
    sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\n"
    structlog.get_logger().warning(
        "Authorization: Digest username=alice, response=planted",
        password="planted",
        digits="planted",
        nested={"ha1_md5": "planted", "sdp": sdp},
        number=Masked("+49301234planted"),
        wrapped=SecretStr("planted"),
        raw=b"planted",
        line="a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:plantedplantedplanted",
        listed=[Masked("planted-number")],
        offer=f"got {sdp} planted",
    )
    logs.shutdown()
    text = stream.getvalue()
    assert "planted" not in text
    assert "192.0.2.1" not in text
    assert "Authorization: Digest (hidden)" in text


def test_an_exception_shows_where_and_hides_its_secrets(stream: io.StringIO) -> None:
    try:
        raise ValueError("bad line a=crypto:1 X inline:plantedplanted")
    except ValueError:
        structlog.get_logger().exception("program.failed")
    (line,) = lines(stream)
    assert "test_logs.py" in str(line["exception"])
    assert "planted" not in str(line["exception"])


def test_lines_of_libraries_come_out_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("password=%s is wrong", "planted")
    (line,) = lines(stream)
    assert (line["logger"], line["level"], line["event"]) == (
        "some.library",
        "warning",
        "password=(hidden) is wrong",
    )


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    structlog.get_logger().debug("detail")
    assert lines(stream) == []


def test_a_console_line_without_terminal_has_no_colours() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="console"), stream)
    structlog.get_logger().info("hello", n=1)
    logs.shutdown()
    structlog.reset_defaults()
    assert "hello" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


class CountingStream(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def test_lines_that_come_together_are_handed_over_together() -> None:
    stream = CountingStream()
    logs.configure(LogSettings(format="json"), stream)
    for number in range(200):
        structlog.get_logger().info("line", n=number)
    logs.shutdown()
    structlog.reset_defaults()
    assert [json.loads(line)["n"] for line in stream.getvalue().splitlines()] == list(range(200))
    assert stream.flushes < 20


class StuckStream(io.StringIO):
    """A terminal that was stopped with ^S."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, text: str) -> int:
        self.free.wait()
        return super().write(text)


def test_a_stuck_terminal_makes_nobody_wait_and_lost_lines_are_told() -> None:
    stream = StuckStream()
    logs.configure(LogSettings(format="json"), stream)
    for number in range(LOG_LINES_WAITING_MAX + 5):
        structlog.get_logger().info("line", n=number)
    stream.free.set()
    logs.shutdown()
    structlog.reset_defaults()
    assert "log lines lost" in stream.getvalue()
