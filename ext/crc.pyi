"""CRC-32 as zlib's, for tests."""

def crc32_of(data: bytes) -> int: ...
def crc32_by_table(data: bytes) -> int:
    """The way of machines without carry-less multiplication."""
