#!/usr/bin/env python3
"""Proves a recording without the server's code: python3 verify_recording.py FOLDER recording-signing.pub.pem

Needs Python 3.9, `cryptography`. Exit code 0: all is as it was signed; 1: it is not, the text says where; 2: usage.
The format: docs/recording-and-consent.md, "Proof".
"""

import json
import struct
import sys
import zlib
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def check_lines(data, public):
    before, bodies = b"", []
    if not data.endswith(b"\n"):
        raise ValueError("the manifest does not end with a whole line")
    for text in data.splitlines(keepends=True):
        outer = json.loads(text)
        body, signature = json.loads(outer["body"]), bytes.fromhex(outer["signature"])
        public.verify(signature, outer["body"].encode())
        written = {"body": outer["body"], "signature": signature.hex()}
        if json.dumps(written, sort_keys=True, separators=(",", ":")).encode() + b"\n" != text:
            raise ValueError("a line of the manifest is not written as it was signed")
        if body["previous"] != (sha256(before).hexdigest() if before else None):
            raise ValueError("a line of the manifest does not follow the one before it")
        before, bodies = text, [*bodies, body]
    return bodies


def check_journal(data, facts):
    position, count, digest = 0, 0, bytes(32)
    while position < len(data):
        head = data[position : position + 64]
        sync, version, kind, _, size, crc, number, _, previous = struct.unpack("<4sBBHIIQq32s", head)
        if (sync, version, number, previous) != (b"MSEG", 2, count, digest) or kind > 2:
            raise ValueError(f"segment {count} at byte {position} is not the one that was signed")
        if zlib.crc32(head[:12] + bytes(4) + head[16:]) != crc or position + 64 + size > len(data):
            raise ValueError(f"segment {count} at byte {position} is damaged or cut off")
        digest = sha256(data[position : position + 64 + size]).digest()
        position, count = position + 64 + size, count + 1
    if (count, position, digest.hex()) != (facts["segments"], facts["bytes"], facts["head"]):
        raise ValueError("its end is not the one that was signed")


if len(sys.argv) != 3:
    print("usage: verify_recording.py FOLDER PUBLIC_KEY_PEM", file=sys.stderr)
    sys.exit(2)
folder, public, name = Path(sys.argv[1]), load_pem_public_key(Path(sys.argv[2]).read_bytes()), "manifest.jsonl"
try:
    closing, *later = check_lines((folder / name).read_bytes(), public)
    removed = [body for body in later if body["format"] == "mediaserver-removal"]
    files = {file["name"]: file for file in closing["files"] if not removed}
    if extra := {path.name for path in folder.glob("*.journal")} ^ set(files):
        raise ValueError(f"missing, or not part of it: {sorted(extra)}")
    for name, facts in files.items():
        check_journal((folder / name).read_bytes(), facts)
except (OSError, ValueError, KeyError, struct.error, InvalidSignature) as error:
    sys.exit(f"{name}: NOT as it was signed: {error or type(error).__name__}")
for body in removed:
    print(f"removed by {body['actor']} at {body['removed']} (UTC seconds): {body['reason']}")
print(f"proven: {len(files)} journals are as they were signed")
