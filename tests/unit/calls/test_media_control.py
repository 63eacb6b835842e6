"""The body of RFC 5168 as devices really write it, and what is none."""

import pytest

from mediaserver.calls.media_control import asks_for_key_frame, key_frame_request


@pytest.mark.parametrize(
    "body",
    [
        key_frame_request(),
        b"<media_control><vc_primitive><to_encoder><picture_fast_update></picture_fast_update></to_encoder>",
        b'<?xml version="1.0"?>\n<mc:media_control xmlns:mc="x"><mc:picture_fast_update /></mc:media_control>',
    ],
)
def test_a_request_is_known_however_it_is_dressed(body: bytes) -> None:
    assert asks_for_key_frame(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"picture_fast_update",
        b"<picture_fast_updates/>",
        b"<!-- picture_fast_update -->",
        b"<picture_fast_update/>" + b" " * 5_000,
        b"\xff\xfe<",
        b"<" * 4_096,
    ],
)
def test_anything_else_asks_for_nothing(body: bytes) -> None:
    assert not asks_for_key_frame(body)
