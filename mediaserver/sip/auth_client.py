"""Answering digest challenges of those we call or register with, RFC 7616, RFC 8760 §2.4, RFC 3261 §22.2–22.3.

Owns the challenges one peer has set us and their nonce counts. Knows no messages: header values in, header pairs out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from mediaserver.limits import SIP_CHALLENGES_MAX
from mediaserver.sip import digest
from mediaserver.sip.digest import ALGORITHMS, Answer, Challenge

CHALLENGE_HEADER = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}
_ANSWER_HEADER = {401: "Authorization", 407: "Proxy-Authorization"}


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    username: str
    password: str = field(repr=False)


@dataclass(slots=True)
class _Held:
    """A challenge we have an answer for. count: times its nonce was used, goes up before each use."""

    challenge: Challenge
    count: int = 0


class DigestClient:
    """Credentials at work towards one peer. Keeps nonces, so later requests carry answers at once."""

    def __init__(self, credentials: ClientCredentials, *, entropy: Callable[[int], bytes]) -> None:
        self._credentials = credentials
        self._entropy = entropy
        self._held: dict[tuple[int, str], _Held] = {}  # (401 or 407, realm)

    def take(self, status: int, challenges: Iterable[str]) -> bool:
        """Learn from a 401 or 407. True: sending the request again with `headers` may succeed.

        Of several challenges of one realm the strongest algorithm wins; the same order of preference as our own.
        False when nothing is usable or when credentials with this very nonce, or fresh ones, were refused.
        """
        best: dict[str, Challenge] = {}
        for challenge in filter(None, map(digest.parse_challenge, challenges)):
            if challenge.qop and not {"auth", "auth-int"} & set(challenge.qop):
                continue
            former = best.get(challenge.realm)
            if former is None or ALGORITHMS.index(challenge.algorithm) < ALGORITHMS.index(former.algorithm):
                best[challenge.realm] = challenge
        worth_it = False
        for realm, challenge in list(best.items())[:SIP_CHALLENGES_MAX]:
            held = self._held.get((status, realm))
            # refused with a nonce we already answered, and not because it was stale: the password is wrong
            if held is not None and held.count == 1 and not challenge.stale:
                continue
            if held is not None and held.challenge.nonce == challenge.nonce and not challenge.stale:
                continue
            self._held[status, realm] = _Held(challenge)
            worth_it = True
        while len(self._held) > SIP_CHALLENGES_MAX:
            del self._held[next(iter(self._held))]
        return worth_it

    def headers(self, method: str, uri: str, body: bytes = b"") -> list[tuple[str, str]]:
        """Authorization and Proxy-Authorization lines for the next request; empty before the first challenge."""
        lines = []
        for (status, _), held in self._held.items():
            held.count += 1
            lines.append((_ANSWER_HEADER[status], self._answer(held, method, uri, body).encode()))
        return lines

    def forget(self) -> None:
        self._held.clear()

    def _answer(self, held: _Held, method: str, uri: str, body: bytes) -> Answer:
        challenge = held.challenge
        qop = "" if not challenge.qop else "auth" if "auth" in challenge.qop else "auth-int"
        answer = Answer(
            username=self._credentials.username,
            realm=challenge.realm,
            nonce=challenge.nonce,
            uri=uri,
            response="",
            algorithm=challenge.algorithm,
            qop=qop,
            nc=f"{held.count:08x}" if qop else "",
            cnonce=self._entropy(16).hex() if qop else "",
            opaque=challenge.opaque,
        )
        secret = digest.ha1(challenge.algorithm, answer.username, challenge.realm, self._credentials.password)
        return replace(answer, response=digest.response_hex(answer, secret, method, body))
