"""Ports for one run of the wire tests, so that two runs on one machine never meet.

All lie below 32768, where Linux begins to give ports to outgoing connections. A lane is held by a bound socket.
"""

from __future__ import annotations

import itertools
import socket

LANES = 4  # three workers of pytest-xdist and their controller, which collects too
_holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _take_lane() -> int:
    for lane in range(LANES):
        try:
            _holder.bind(("127.0.0.1", 15_090 + lane))
            return lane
        except OSError:
            continue
    raise RuntimeError(f"{LANES} runs of the wire tests are under way on this machine; wait for one to end")


LANE = _take_lane()
SERVER_PORT = 15_100 + LANE * 20  # SIP; +1 TLS, +2 HTTPS, +3 metrics, +4 browsers
SECOND_SERVER_PORT = 15_200 + LANE * 20
SIPP_PORT = 15_300 + LANE * 20
SECOND_SERVER_RTP = 15_400 + LANE * 20
SERVER_RTP = 20_000 + LANE * 1_500  # 1,500 ports
SIPP_MEDIA_PORT = 26_000 + LANE * 1_100  # only tests that run alone use them: 3,000 ports
PHONE_RTP_OFFSET = 2_000
_slots = itertools.count()


def phone_port() -> int:
    """The first of ten SIP ports of a phone; its RTP ports are the ten at + PHONE_RTP_OFFSET."""
    return 16_000 + LANE * 480 + next(_slots) % 48 * 10
