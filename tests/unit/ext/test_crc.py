"""CRC-32 against zlib's, at every length around the ways' edges."""

import random
import zlib

from mediaserver.ext.crc import crc32_by_table, crc32_of


def test_it_is_zlibs_at_every_length_and_in_both_ways() -> None:
    draw = random.Random(1)
    for size in [*range(300), 1_472, 65_563]:
        data = draw.randbytes(size)
        assert crc32_of(data) == zlib.crc32(data), size
        assert crc32_by_table(data) == zlib.crc32(data), size
