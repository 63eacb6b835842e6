"""Metadata of recording sessions, fed with mutated and random documents from a seed.

By hand and longer: python -m tests.fuzz.test_rs_metadata SEED COUNT
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from mediaserver.errors import ParseError
from mediaserver.limits import SIPREC_OBJECTS_MAX, SIPREC_TEXT_CHARS_MAX
from mediaserver.sip.rs_metadata import Metadata, parse
from tests.fuzz.test_media import mutated

# Invariant: any bytes are metadata within the bounds, every speaker of every label being one of its participants, or a
# ParseError; a document with a DTD never is metadata; merging keeps the bounds; none of it takes long.

SEED, COUNT = 20_261_128, 3_000
VECTORS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "vectors" / "siprec").glob("*.xml"))]
NS = b'xmlns="urn:ietf:params:xml:ns:recording:1"'
PIECES = (
    b"<recording " + NS + b">", b"</recording>", b"<datamode>partial</datamode>", b'<session session_id="s"/>',
    b'<participant participant_id="p">',
    b"</participant>", b'<nameID aor="sip:a@b">', b"</nameID>", b"<name>N</name>",
    b'<stream stream_id="t" session_id="s"><label>1</label></stream>', b"<send>t</send>", b"<label>1</label>",
    b'<participantstreamassoc participant_id="p">', b"</participantstreamassoc>", b"&amp;", b"&lol;",
    b"<!--x-->",
    b'<!DOCTYPE r [<!ENTITY lol "lol">]>', b"<![CDATA[x]]>", b"<?pi x?>", b"\x00", b"\xff", b"<x:y/>",
    b'<a xmlns="q"/>',
)  # fmt: skip


def body(rng: random.Random) -> bytes:
    if rng.random() < 0.6:
        return mutated(rng, rng.choice(VECTORS))
    inside = b"".join(rng.choice(PIECES) for _ in range(rng.randrange(30)))
    return PIECES[0] + inside + PIECES[1] if rng.random() < 0.7 else inside


def check(metadata: Metadata) -> None:
    for kind in (metadata.sessions, metadata.participants, metadata.streams, metadata.sends):
        assert len(kind) <= SIPREC_OBJECTS_MAX
    for stream in metadata.streams.values():
        assert all(one.participant_id in metadata.participants for one in metadata.speakers(stream.label))
    for one in metadata.participants.values():
        assert max(len(one.aor), len(one.name), len(one.number)) <= SIPREC_TEXT_CHARS_MAX


def run(seed: int, count: int) -> int:
    rng, read = random.Random(seed), 0
    known = Metadata()
    for number in range(count):
        data = body(rng)
        began = time.process_time()
        try:
            found = parse(data)
        except ParseError:
            continue
        finally:
            assert time.process_time() - began < 1.0, f"seed {seed}, number {number} took long"
        assert b"<!DOCTYPE" not in data.partition(b"<recording")[0], f"seed {seed}, number {number}"
        check(found)
        try:
            known = known.updated(found)
        except ParseError:
            known = Metadata()
        check(known)
        read += 1
    return read


def test_any_bytes_are_bounded_metadata_or_a_parse_error() -> None:
    assert run(SEED, COUNT) > COUNT // 20  # enough of it is read to say something


if __name__ == "__main__":
    print(run(int(sys.argv[1]), int(sys.argv[2])), "documents were read")
