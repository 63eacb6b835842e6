"""RTP header extensions by RFC 8285; see video_extensions.pyx."""

def parse_for_test(data: bytes, numbers: dict[str, int]) -> dict[str, int] | None:
    """Extensions of one RTP packet by name, or None when it, or they, are malformed."""

def write_for_test(
    numbers: dict[str, int],
    mid: bytes,
    send_time: int | None,
    transport_cc: int | None,
    orientation: int | None,
    descriptor: bytes,
) -> bytes:
    """The extension block with all that is not None, or not empty."""
