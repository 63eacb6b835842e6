"""Payload descriptors of VP8, VP9, H.264 and AV1; see video_payload.pyx."""

def parse_for_test(codec: int, payload: bytes) -> dict[str, int] | None:
    """PayloadFacts by name, or None when malformed. codec: 1 VP8, 2 H.264, 3 VP9, 4 AV1."""

def patch_for_test(codec: int, payload: bytes, picture: int, tl0: int) -> bytes: ...
