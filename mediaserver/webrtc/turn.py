"""Credentials for TURN that nobody has to store: a name with the time they end, signed with a secret shared with the
TURN server. The scheme of coturn's use-auth-secret, draft-uberti-behave-turn-rest-00.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    username: str
    password: str = field(repr=False)
    ttl_s: int


def turn_credentials(secret: str, user: str, now_s: float, ttl_s: int) -> TurnCredentials:
    """user: of ours, so that the TURN server's log says who; ":" would end it. now_s: wall clock."""
    username = f"{int(now_s) + ttl_s}:{user.replace(':', '_')}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return TurnCredentials(username, base64.b64encode(digest).decode(), ttl_s)
