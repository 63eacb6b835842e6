# Invariant: whatever stands in an Authorization header or a challenge, checking it gives a verdict and never raises,
# and nothing but the right answer is accepted; looking for SDP in any body gives bytes, None or ParseError.
"""Mutated credentials, challenges and multipart bodies.

By hand: python -m tests.fuzz.test_sip_auth SECONDS [SEED]
"""

from __future__ import annotations

import contextlib
import random
import sys
import time

import pytest

from mediaserver.errors import ParseError
from mediaserver.sip.auth import Authenticator, Verdict
from mediaserver.sip.auth_client import ClientCredentials, DigestClient
from mediaserver.sip.digest import parse_answer, parse_challenge
from mediaserver.sip.message import Headers, Request
from mediaserver.sip.sdp_body import sdp_of
from tests.support.sip_net import entropy_from, users

PIECES = (
    *('"', "\\", ",", "=", " ", "\t", "\r\n", ";", "\0", "é", "\udcff"),
    *("Digest ", "nc=", "nonce=", "00000001", "qop=auth-int"),
)
MULTIPART = (
    b"--b\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n"
    b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n"
)


def mutate(rng: random.Random, text: str) -> str:
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.randrange(0, 12))
        piece = rng.choice((rng.choice(PIECES), text[at:end] * 2, chr(rng.randrange(1, 0x2FF)), ""))
        text = text[:at] + piece + text[rng.choice((at, end)) :]
    return text


def one(seed: int) -> None:
    rng = random.Random(seed)
    server = Authenticator("home", users("alice"), entropy=entropy_from(seed))
    client = DigestClient(ClientCredentials("alice", "pw-alice"), entropy=entropy_from(seed + 1))
    challenges = server.check("INVITE", [], source="a", now_ns=10**9).challenges
    for challenge in challenges:
        parse_challenge(mutate(rng, challenge))
        DigestClient(ClientCredentials("a", "b"), entropy=entropy_from(1)).take(
            401, [mutate(rng, challenge), challenge]
        )
    client.take(401, challenges)
    line = client.headers("INVITE", "sip:600@home")[0][1]
    broken = mutate(rng, line)
    same = False
    with contextlib.suppress(ParseError):
        same = parse_answer(broken) == parse_answer(line)
    verdict = server.check("INVITE", [broken], source="a", now_ns=10**9 + 1).verdict
    assert same or verdict is not Verdict.ACCEPTED or _same_but_for_opaque(broken, line)
    body = mutate(rng, MULTIPART.decode("latin-1")).encode("utf-8", "surrogateescape")
    kind = mutate(rng, "multipart/mixed;boundary=b")
    message = Request(headers=Headers([("Content-Type", kind)]), body=body, method="INVITE", uri="sip:a@b")
    with contextlib.suppress(ParseError):
        found = sdp_of(message)
        assert found is None or isinstance(found, bytes)


def _same_but_for_opaque(broken: str, line: str) -> bool:
    """A digest covers neither opaque nor parameters nobody knows: those may differ and the answer be right."""
    a, b = parse_answer(broken), parse_answer(line)
    return a is not None and b is not None and (a.response, a.nonce, a.nc, a.uri) == (b.response, b.nonce, b.nc, b.uri)


@pytest.mark.parametrize("block", range(2))
def test_no_header_raises_and_no_mutation_is_accepted(block):
    for seed in range(block * 1_000, block * 1_000 + 1_000):
        try:
            one(seed)
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error


def main() -> None:
    seed = begun = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        try:
            one(seed)
        except BaseException:
            sys.stderr.write(f"seed {seed}\n")
            raise
        seed += 1
    sys.stderr.write(f"{seed - begun} headers, none broke the invariant\n")


if __name__ == "__main__":
    main()
