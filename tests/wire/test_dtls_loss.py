"""DTLS flights that get lost: OpenSSL repeats them by the real clock, so this cannot run in virtual time."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from mediaserver.clock import SystemClock
from mediaserver.webrtc.dtls import DtlsEndpoint, DtlsIdentity, DtlsState


@pytest.mark.parametrize("lost", [{0}, {1}, {2}, {3}, {0, 2}, {1, 3}])
async def test_a_handshake_survives_lost_datagrams(lost: set[int]) -> None:
    clock, numbers = SystemClock(), count()
    us, them = DtlsIdentity(), DtlsIdentity()
    server, client = DtlsEndpoint(us, client=False), DtlsEndpoint(them, client=True)
    server.expect(them.fingerprint)
    client.expect(us.fingerprint)
    server.start(clock.now_ns())
    client.start(clock.now_ns())
    async with asyncio.timeout(15):
        while server.state is not DtlsState.CONNECTED or client.state is not DtlsState.CONNECTED:
            for speaker, listener in ((client, server), (server, client)):
                for data in speaker.poll():
                    if next(numbers) not in lost:
                        listener.receive(data, clock.now_ns())
            for end in (client, server):
                due = end.next_deadline()
                if due is not None and due <= clock.now_ns():
                    end.handle_timer(clock.now_ns())
            await asyncio.sleep(0.01)
    assert server.keys is not None
    assert client.keys is not None
    assert server.keys.send == client.keys.receive
