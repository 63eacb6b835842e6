"""What is no HTTP: counted, told once a minute without a byte of it. aiohttp would log each with a traceback that
quotes the request, its cookies included.
"""

from __future__ import annotations

import logging
import time

import structlog
from aiohttp.http_exceptions import HttpProcessingError

log = structlog.get_logger()
_TOLD_EVERY_S = 60.0


class BadHttp(logging.Filter):
    """Drops the records of unreadable requests from aiohttp's own log."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self._told = -_TOLD_EVERY_S

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (HttpProcessingError, ConnectionError)):
            return True
        self.requests += 1
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_S:
            self._told = now
            log.info("requests that are no HTTP were refused", requests=self.requests, last=type(error).__name__)
        return False


def bad_http_logger() -> logging.Logger:
    """For one listener."""
    logger = logging.getLogger("mediaserver.http")
    if not any(isinstance(one, BadHttp) for one in logger.filters):
        logger.addFilter(BadHttp())
    return logger
