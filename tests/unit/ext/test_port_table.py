"""The table from source addresses to legs: held to a dict through a long random life."""

import random

from mediaserver.ext.port import TableForTest


def test_an_address_finds_the_leg_it_was_bound_to_and_nobody_elses() -> None:
    table = TableForTest(7)
    assert table.bind("192.0.2.1", 4000, 65_537)
    assert table.find("192.0.2.1", 4000) == 65_537
    assert table.find("192.0.2.1", 4001) == table.find("192.0.2.2", 4000) == table.find("::ffff:192.0.2.1", 4000) == 0


def test_an_address_has_one_owner_the_last_that_was_bound() -> None:
    table = TableForTest(7)
    table.bind("2001:db8::1", 5, 1)
    table.bind("2001:db8::1", 5, 2)
    assert (table.find("2001:db8::1", 5), len(table)) == (2, 1)
    table.unbind("2001:db8::1", 5)
    table.unbind("2001:db8::1", 5)
    assert (table.find("2001:db8::1", 5), len(table)) == (0, 0)


def test_a_thousand_addresses_come_and_go_as_in_a_dict() -> None:
    rng, table, reference = random.Random(5), TableForTest(99), dict[tuple[str, int], int]()
    hosts = [f"10.0.0.{n}" for n in range(20)] + [f"2001:db8::{n:x}" for n in range(20)]
    for number in range(1, 40_000):
        host, port = rng.choice(hosts), rng.randrange(60_000, 60_100)
        if rng.random() < 0.5:
            table.bind(host, port, number)
            reference[host, port] = number
        else:
            table.unbind(host, port)
            reference.pop((host, port), None)
    assert len(table) == len(reference) > 1_000
    assert all(
        table.find(host, port) == reference.get((host, port), 0) for host in hosts for port in range(60_000, 60_100)
    )


def test_a_full_table_takes_no_more_and_still_finds() -> None:
    table = TableForTest(3)
    bound = [table.bind(f"10.{n >> 8 & 255}.{n & 255}.1", 1000, n + 1) for n in range(9_000)]
    assert bound.count(True) == len(table) == 8_192
    assert table.find("10.0.5.1", 1000) == 6
    assert table.bind("10.0.5.1", 1000, 77)
    assert table.find("10.0.5.1", 1000) == 77
