"""Pairs of ports: even and odd, skipping what others hold, given back, and what happens when none is left."""

import socket

import pytest

from mediaserver.errors import MediaError, NoPortFree
from mediaserver.media.ports import PortPool

HOST = "127.0.0.1"


def pool(first: int, last: int, start: int = 0) -> PortPool:
    return PortPool(f"{first}-{last}", lambda below: start % below)


def test_rtp_is_even_and_rtcp_the_next_odd_port() -> None:
    ports = pool(30401, 30409)
    pair = ports.open_pair(HOST)
    assert pair.port == 30402
    assert pair.rtp.getsockname() == (HOST, 30402)
    assert pair.rtcp.getsockname() == (HOST, 30403)
    assert pair.rtp.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
    ports.release(pair)


def test_ipv6_gets_its_own_sockets() -> None:
    ports = pool(30410, 30411)
    pair = ports.open_pair("::1")
    assert pair.rtp.family == socket.AF_INET6
    assert pair.rtp.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 46 << 2
    ports.release(pair)


@pytest.mark.parametrize("taken", [30412, 30413])
def test_a_port_somebody_else_holds_is_skipped_with_its_neighbour(taken: int) -> None:
    ports = pool(30412, 30415)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, taken))
        pair = ports.open_pair(HOST)
    assert pair.port == 30414
    ports.release(pair)


def test_the_search_begins_anywhere_and_goes_around() -> None:
    ports = pool(30416, 30421, start=2)
    pairs = [ports.open_pair(HOST) for _ in range(3)]
    assert [pair.port for pair in pairs] == [30420, 30416, 30418]
    for pair in pairs:
        ports.release(pair)


def test_a_full_range_says_how_many_are_in_use() -> None:
    ports = pool(30422, 30425)
    pairs = [ports.open_pair(HOST) for _ in range(2)]
    with pytest.raises(NoPortFree, match=r"30422-30425 has no free pair on 127\.0\.0\.1: 2 of 2"):
        ports.open_pair(HOST)
    ports.release(pairs[0])
    again = ports.open_pair(HOST)
    assert again.port == pairs[0].port
    for pair in (pairs[1], again):
        ports.release(pair)
    assert ports.pairs_taken == 0


@pytest.mark.parametrize("wrong", ["30001-30001", "30000-30000", "30001-30002", "65534-65536"])
def test_a_range_without_a_pair_is_refused_at_once(wrong: str) -> None:
    with pytest.raises(MediaError, match="must hold an even port"):
        PortPool(wrong)


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(MediaError, match=r"192\.0\.2\.1"):
        pool(30426, 30427).open_pair("192.0.2.1")
