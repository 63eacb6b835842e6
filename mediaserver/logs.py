"""Structured logs: one line per event, for people on a terminal and as JSON for programs, written by a thread.

Owns the set-up of structlog and of Python's own logging, the redaction and the writer. Rooms only call
`structlog.get_logger()`; whoever drives a call binds its id with `call_context`, and every line below carries it.
Logging never blocks: lines go into a bounded queue; when the disk or terminal behind it stalls, lines are dropped and
the number of them is told in the next line that gets through.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from functools import lru_cache
from typing import Any, TextIO

import structlog
from pydantic import SecretStr
from structlog.typing import Processor

from mediaserver.limits import LOG_LINES_WAITING_MAX
from mediaserver.model import Masked
from mediaserver.settings import LogSettings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
HIDDEN = "(hidden)"
# Names whose value is never shown, whatever it is.
HIDDEN_KEYS = re.compile(
    r"password|passwd|secret|authori[sz]ation|crypto|inline|^sdp|_sdp$|digit|ha1|token|cookie|^body$|_key$|^key$"
)
# The same inside longer texts: header lines, SDP key lines, whole session descriptions.
HIDDEN_TEXT = (
    (re.compile(r"(?i)((?:proxy-)?authorization\s*:\s*\w+)[^\r\n]*"), r"\1 " + HIDDEN),
    (re.compile(r"(?i)(inline:)[A-Za-z0-9+/=|:]+"), r"\1" + HIDDEN),
    (re.compile(r"(?i)((?:password|secret)\"?\s*[=:]\s*)\S+"), r"\1" + HIDDEN),
    (re.compile(r"v=0\r?\no=.*", re.DOTALL), "<SDP " + HIDDEN + ">"),
)
# Each of those texts holds one of these; most lines hold none.
HIDDEN_TEXT_HAS = re.compile("[:=]")
GATHER_S = (
    0.02  # the writer sleeps so long after a line comes, then writes all that came: a wake-up per line costs more
)
KEYS_KEPT = 4_096  # names of log fields remembered; programs of the house may make up their own


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Masks personal data and secrets by key, by type and by what a text looks like; the last step before rendering."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


@lru_cache(KEYS_KEPT)
def _is_hidden(key: str) -> bool:
    return HIDDEN_KEYS.search(key.lower()) is not None


def _clean(key: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value if not _is_hidden(key) or isinstance(value, bool) else HIDDEN
    if _is_hidden(key):
        return HIDDEN
    if type(value) is str:  # most of them
        return _clean_text(value)
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, Masked):
        return repr(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {str(name): _clean(str(name), part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(key, part) for part in value]
    return _clean_text(value if isinstance(value, str) else repr(value))


def _clean_text(text: str) -> str:
    if HIDDEN_TEXT_HAS.search(text) is None:
        return text
    for pattern, instead in HIDDEN_TEXT:
        text = pattern.sub(instead, text)
    return text


class _Writer:
    """Puts lines on a stream from its own thread, many at a time. Too many waiting: the line is dropped and counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._being_written = 0
        self._dropped = 0
        self._come = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        if len(self._lines) + self._being_written >= LOG_LINES_WAITING_MAX:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._come.is_set():  # else the writer has not looked yet and will find this line too
            self._come.set()

    def close(self) -> None:
        """Writes what waits, then ends the thread. A stream that is stuck is left behind after a second."""
        self._closing.set()
        self._come.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._come.wait()
            self._closing.wait(GATHER_S)
            self._come.clear()
            self._write_all()

    def _write_all(self) -> None:
        """One line at a time, so that those behind one that is stuck still count as waiting."""
        wrote = False
        self._being_written = 1
        while self._lines:
            line = self._lines.popleft()
            dropped, self._dropped = self._dropped, 0
            lost = f"({dropped} log lines lost: the log could not be written fast enough)\n" if dropped else ""
            # A closed pipe or a full disk must not end the thread: the next line may find it well again.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(f"{lost}{line}\n")
                wrote = True
        self._being_written = 0
        if wrote:
            with contextlib.suppress(OSError, ValueError):
                self._stream.flush()


class _LineLogger:
    """What structlog calls at the end of its chain, whatever the level: the processors have dropped what is too low."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        self._writer.put(line)

    debug = info = warning = warn = error = exception = critical = fatal = failure = log = msg


class _FromStandardLogging(logging.Handler):
    """Libraries log through Python's logging: the same line format, redaction and queue for them."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        with contextlib.suppress(Exception):  # a library's wrong format string must not end what it logged about
            structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, **fields)


mirror: Callable[[MutableMapping[str, Any]], None] | None = (
    None  # sees each line after redaction; must not raise or log
)


def _to_mirror(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if mirror is not None:
        mirror(event)
    return event


_writer: _Writer | None = None
_encoder = json.JSONEncoder(ensure_ascii=False)  # made once: json.dumps with options makes one for every line


def _as_json(event: Any, **_options: Any) -> str:
    return _encoder.encode(event)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sets up logging for the process, onto `stream` (standard error). May be called again: the former one is ended."""
    global _writer
    shutdown()
    stream = stream or sys.stderr
    _writer = _Writer(stream)
    level = LEVELS[settings.level]
    terminal = stream.isatty()
    console = settings.format == "console" or (settings.format == "auto" and terminal)
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.add_log_level,  # after it: what is ours hides nothing
        _to_mirror,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
        structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(serializer=_as_json),
    ]
    writer = _writer
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_args: _LineLogger(writer),
        cache_logger_on_first_use=False,  # loggers made at import time must follow a later configure()
    )
    logging.root.handlers[:] = [_FromStandardLogging()]
    logging.root.setLevel(max(level, logging.INFO))
    for chatty in ("aiohttp.access", "aiosqlite", "sqlalchemy.engine", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def shutdown() -> None:
    """Writes what waits and ends the writer. Idempotent; also runs when the process ends."""
    global _writer
    if _writer is not None:
        _writer.close()
        _writer = None


atexit.register(shutdown)


@contextlib.contextmanager
def call_context(call_id: str, **more: str) -> Iterator[None]:
    """Every line logged inside, by tasks started inside too, carries the call's id."""
    with structlog.contextvars.bound_contextvars(call_id=call_id, **more):
        yield
