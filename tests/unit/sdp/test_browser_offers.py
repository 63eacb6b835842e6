"""Offers that browsers write otherwise than Chromium does by habit: Safari, an older Firefox, video before sound, one
transport described once (RFC 8829 §5.2.1, RFC 8843 §6)."""

import pytest

from mediaserver.errors import NegotiationError
from mediaserver.model import CodecName, Direction
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.webrtc import wants_webrtc
from tests.unit.sdp.test_webrtc_video import answered, local, negotiator, vector

TRANSPORT = (b"a=ice-ufrag:", b"a=ice-pwd:", b"a=fingerprint:", b"a=setup:", b"a=candidate:", b"a=rtcp")


def sections(offer: bytes) -> tuple[bytes, list[bytes]]:
    head, *media = offer.split(b"\r\nm=")
    return head + b"\r\n", [b"m=" + section.removesuffix(b"\r\n") + b"\r\n" for section in media]


def only_in_bundle(section: bytes, *, silent: bool) -> bytes:
    """Port 0 and a=bundle-only. silent: what the bundle's first section says of the transport is not said again."""
    lines = section.split(b"\r\n")[:-1]
    words = lines[0].split(b" ")
    words[1] = b"0"
    kept = [line for line in lines[1:] if not (silent and line.startswith(TRANSPORT))]
    return b"\r\n".join([b" ".join(words), *kept, b"a=bundle-only", b""])


def video_first(browser: str, *, silent: bool) -> bytes:
    """A page that opened its camera before its microphone, with bundlePolicy max-bundle."""
    head, media = sections(vector(f"{browser}-simulcast-screen-data"))
    audio, camera, *others = media
    assert b"a=group:BUNDLE 0 1 2 3" in head
    camera = camera.replace(b"m=video 0", b"m=video 9").replace(b"a=bundle-only\r\n", b"")
    head = head.replace(b"BUNDLE 0 1 2 3", b"BUNDLE 1 0 2 3")
    rest = [only_in_bundle(section.replace(b"a=bundle-only\r\n", b""), silent=silent) for section in (audio, *others)]
    return head + b"".join([camera, *rest])


@pytest.mark.parametrize(("codecs", "codec", "numbers"), [(["VP8"], "VP8", (100, 101)), (["H264"], "H264", (98, 99))])
def test_safaris_offer_is_answered_by_its_own_numbers_with_all_three_layers(codecs, codec, numbers):
    made, answer = answered(vector("safari-audio-video-simulcast"), formats=house_formats(codecs))
    video = made.video.lines[0].settings
    assert made.stream.audio.name is CodecName.OPUS
    assert answer.media[0].formats == ["111", "110"]
    assert (video.receive[0].codec.value, video.receive[0].payload_type, video.receive[0].rtx_payload_type) == (
        codec,
        *numbers,
    )
    assert answer.media[1].first("simulcast") == "recv low;mid;high"
    assert (video.extensions.rid, video.extensions.repaired_rid) == (10, 11)


def test_simulcast_as_firefox_wrote_it_before_the_rfc_is_answered_in_its_own_words():
    offer = vector("firefox-simulcast-screen-data").replace(b"a=simulcast:send q;h;f", b"a=simulcast: send rid=q;h;f")
    made, answer = answered(offer)
    assert made.video.lines[0].settings.rids == ("q", "h", "f")
    assert answer.media[1].first("simulcast") == "recv rid=q;h;f"
    assert not answer.media[2].has("simulcast")


@pytest.mark.parametrize("silent", [False, True], ids=["all told twice", "told once"])
@pytest.mark.parametrize("browser", ["chromium", "firefox"])
def test_a_camera_before_the_sound_and_sections_that_wait_for_their_bundle_are_all_answered(browser, silent):
    offer = video_first(browser, silent=silent)
    assert wants_webrtc(offer)
    made, answer = answered(offer)
    assert [(media.kind, media.port, media.first("mid")) for media in answer.media] == [
        ("video", 4_000, "1"),
        ("audio", 4_000, "0"),
        ("video", 4_000, "2"),
        ("application", 4_000, "3"),
    ]
    assert answer.first("group") == "BUNDLE 1 0 2 3"
    assert not any(media.has("bundle-only") for media in answer.media)
    described = parse(vector(f"{browser}-simulcast-screen-data"))
    assert made.peer.ufrag == described.media[0].first("ice-ufrag")
    assert made.peer.fingerprints
    assert made.stream.direction is Direction.SENDRECV
    assert made.video.lines[0].settings.rids == ("q", "h", "f")


def test_a_camera_that_is_refused_leaves_the_bundle_to_the_sound():
    made = negotiator()
    made.read_offer(video_first("firefox", silent=True))
    answer = parse(made.write_answer())
    assert [media.port for media in answer.media] == [0, 4_000, 0, 4_000]
    assert answer.first("group") == "BUNDLE 0 3"


def test_our_next_offer_after_a_camera_before_the_sound_keeps_the_places_and_the_bundles_first():
    made, _ = answered(video_first("chromium", silent=True))
    made.video.add(local(direction=Direction.SENDONLY))
    ours = parse(made.write_offer())
    assert [media.kind for media in ours.media] == ["video", "audio", "video", "application", "video"]
    assert ours.first("group").startswith("BUNDLE 1 0 2 3 ")
    assert all(media.first("ice-ufrag") == "ours" for media in ours.media)


def test_a_section_that_waits_for_a_bundle_it_is_not_in_has_no_transport_and_is_refused():
    offer = video_first("chromium", silent=True).replace(b"BUNDLE 1 0 2 3", b"BUNDLE 1 2 3")
    with pytest.raises(NegotiationError, match="rtcp-mux"):
        negotiator().read_offer(offer)


def test_a_sound_that_is_off_and_not_only_bundled_is_still_refused():
    offer = video_first("chromium", silent=False)
    head, media = sections(offer)
    off = head + b"".join([media[0], media[1].replace(b"a=bundle-only\r\n", b""), *media[2:]])
    with pytest.raises(NegotiationError, match="no audio that is switched on"):
        negotiator().read_offer(off)
