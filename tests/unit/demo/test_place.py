"""Where the demo may run: on this machine, on ports that are free."""

from __future__ import annotations

import socket

import pytest

from mediaserver.demo.place import address_towards, free_port, is_local


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),  # TEST-NET-1
        ("2001:db8::1", False),
        ("0.0.0.0", False),
        ("no-such-host.invalid", False),
    ],
)
def test_this_machine_is_told_from_others(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_a_port_that_is_taken_is_passed_over_and_a_free_one_kept() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = taken.getsockname()[1]
        assert free_port("127.0.0.1", wanted) != wanted
    free = free_port("127.0.0.1")
    assert free_port("127.0.0.1", free) == free


def test_our_address_towards_a_server_is_the_one_it_can_answer_to() -> None:
    assert address_towards("127.0.0.1:5060") == "127.0.0.1"
