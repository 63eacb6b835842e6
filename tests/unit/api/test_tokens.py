"""Tokens: what we sign we take, until it expires; nothing else, from nobody."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest

from mediaserver.api.tokens import KEYS_NAME, Grant, Right, TokenRefused, Tokens
from mediaserver.errors import ConfigError
from mediaserver.limits import TOKEN_CHARS_MAX, TOKEN_KEYS_MAX
from mediaserver.settings import TokenSettings

NOW = 1_790_000_000.0


class WallClock:
    def __init__(self) -> None:
        self.at = NOW

    def now_ns(self) -> int:
        return int(self.at * 1e9)

    def wall(self) -> float:
        return self.at


class House:
    """Tokens of one server; `again` is the same server after a restart."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder, self.clock, self.settings = folder, WallClock(), TokenSettings(**settings)
        self.stamps: dict[str, str] = {"ann": "hash of ann's password"}
        self.tokens = self.again()

    def again(self, audience: str = "here") -> Tokens:
        made = Tokens(self.settings, self.folder, self.clock, audience=audience, stamp=self.stamps.get)
        made.load()
        return made

    def token(self, **wanted: Any) -> str:
        return self.tokens.issue(**{"user": "ann", "number": None, "rights": [Right.PUBLISH], **wanted})[0]

    def refusal(self, token: str) -> tuple[int, str]:
        with pytest.raises(TokenRefused) as refused:
            self.tokens.verify(token)
        assert not token or token not in str(refused.value)
        return refused.value.status, refused.value.reason


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def forged(token: str, **claims: Any) -> str:
    """The token with other claims and its old signature."""
    head, body, signature = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(json.dumps({**said, **claims}).encode()).decode().rstrip("=")
    return f"{head}.{changed}.{signature}"


def test_a_token_says_what_was_asked_for(house: House) -> None:
    token, made = house.tokens.issue(user="ann", number="700", rights=[Right.PUBLISH, Right.RECORD], lifetime_s=60)
    read = house.tokens.verify(token)
    assert read == made
    assert (read.user, read.number, read.expires) == ("ann", "700", NOW + 60)
    assert read.rights == {Right.PUBLISH, Right.RECORD}
    read.demand(Right.RECORD)
    read.demand_number("700")


def test_a_guest_is_bound_to_a_number_and_named(house: House) -> None:
    read = house.tokens.verify(house.token(user=None, number="700", name="Visitor 7"))
    assert (read.user, read.shown_as) == (None, "Visitor 7")


def test_what_it_does_not_allow_is_403_in_words(house: House) -> None:
    grant = Grant("ann", "700", frozenset({Right.SUBSCRIBE}), NOW)
    for demand, reason in (
        (lambda: grant.demand(Right.PUBLISH), "right"),
        (lambda: grant.demand_number("701"), "number"),
    ):
        with pytest.raises(TokenRefused) as refused:
            demand()
        assert (refused.value.status, refused.value.reason) == (403, reason)


def test_it_ends_when_it_says_and_a_little_later_for_late_clocks(house: House) -> None:
    token = house.token(lifetime_s=60)
    house.clock.at = NOW + 60 + house.settings.clock_skew_s
    house.tokens.verify(token)
    house.clock.at += 0.001
    assert house.refusal(token) == (401, "expired")
    assert house.tokens.refused["expired"] == 1


def test_one_from_the_future_is_refused(house: House) -> None:
    token = house.token()
    house.clock.at = NOW - house.settings.clock_skew_s - 1
    assert house.refusal(token) == (401, "early")


@pytest.mark.parametrize(
    "claims",
    [{"rights": ["publish", "moderate"]}, {"sub": "bob"}, {"exp": int(NOW) + 10**6}, {"number": "701"}, {}],
)
def test_changed_claims_break_the_signature(house: House, claims: dict[str, Any]) -> None:
    token = house.token()
    if not claims:
        head, body, signature = token.split(".")
        token = f"{head}.{body}.{signature[:-4]}AAAA"
    assert house.refusal(forged(token, **claims) if claims else token) == (401, "forged")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_other_algorithms_other_keys_and_rubbish_are_refused(house: House) -> None:
    head = {"kid": jwt.get_unverified_header(house.token())["kid"]}
    claims = {"aud": "mediaserver:here", "exp": NOW + 99, "iat": NOW, "jti": "x", "rights": ["publish"], "sub": "ann"}
    unsigned = jwt.encode(claims, None, "none", headers=head)
    assert house.refusal(unsigned) == (401, "malformed")
    assert house.refusal(jwt.encode(claims, "k" * 64, "HS512", headers=head)) == (401, "malformed")
    assert house.refusal(jwt.encode(claims, "k" * 32, "HS256", headers=head)) == (401, "forged")
    assert house.refusal(jwt.encode(claims, "k" * 32, "HS256", headers={"kid": "nobody"})) == (401, "forged")
    for rubbish in ("", "a", "a.b.c", "..", "é.é.é", "\0" * 9, "[" * 900 + ".e30.e30", "a" * (TOKEN_CHARS_MAX + 1)):
        assert house.refusal(rubbish)[0] == 401


@pytest.mark.parametrize(
    "broken", [{"rights": ["all"]}, {"rights": None}, {"sub": 7}, {"exp": "soon"}, {"number": ["700"]}, {"jti": 1}]
)
def test_a_signed_token_with_claims_that_are_none_is_refused(house: House, broken: dict[str, Any]) -> None:
    key = json.loads((house.folder / KEYS_NAME).read_bytes())["keys"][0]
    claims = {"aud": "mediaserver:here", "exp": NOW + 99, "iat": NOW, "jti": "x", "rights": ["publish"]}
    token = jwt.encode({**claims, **broken}, base64.b64decode(key["key"]), "HS256", headers={"kid": key["id"]})
    assert house.refusal(token)[0] == 401


def test_another_server_with_the_same_keys_does_not_take_it(house: House) -> None:
    house.tokens, token = house.again("elsewhere"), house.token()
    assert house.refusal(token) == (401, "audience")


def test_it_ends_with_its_user_and_with_his_password(house: House) -> None:
    token = house.token()
    house.stamps["ann"] = "hash of a new password"
    assert house.refusal(token) == (401, "user")
    del house.stamps["ann"]
    assert house.refusal(token) == (401, "user")
    with pytest.raises(ValueError, match="no user"):
        house.token()


def test_renewing_gives_the_same_rights_for_as_long_again(house: House) -> None:
    grant = house.tokens.verify(house.token(number="700", lifetime_s=60))
    house.clock.at += 50
    _, renewed = house.tokens.renew(grant)
    assert (renewed.rights, renewed.number) == (grant.rights, "700")
    assert renewed.expires == house.clock.at + house.settings.lifetime_s
    house.stamps.clear()
    with pytest.raises(TokenRefused):
        house.tokens.renew(grant)


@pytest.mark.parametrize("wrong", [{"lifetime_s": 0.5}, {"lifetime_s": 10**7}, {"user": None}, {"user": "nobody"}])
def test_what_cannot_be_issued_is_told(house: House, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"allowed|name one|no user"):
        house.token(**wrong)


def test_the_keys_are_private_and_outlive_a_restart(house: House) -> None:
    token = house.token()
    assert stat.S_IMODE((house.folder / KEYS_NAME).stat().st_mode) == 0o600
    house.tokens = house.again()
    assert house.tokens.verify(token).user == "ann"


def test_a_new_key_signs_after_its_days_and_the_former_one_verifies_on(house: House) -> None:
    house.clock.at = NOW + 30 * 86_400 - 10
    old = house.token()
    house.clock.at += 20
    new = house.token()
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    house.tokens.verify(old)
    house.clock.at += 40 * 86_400
    house.token()
    listed = json.loads((house.folder / KEYS_NAME).read_bytes())["keys"]
    assert jwt.get_unverified_header(old)["kid"] not in [key["id"] for key in listed]


def test_keys_are_bounded_whatever_the_settings(tmp_path: Path) -> None:
    house = House(tmp_path, key_days=1, lifetime_s_max=604_800)
    for _ in range(TOKEN_KEYS_MAX + 4):
        house.clock.at += 86_400
        house.token()
    assert len(json.loads((tmp_path / KEYS_NAME).read_bytes())["keys"]) == TOKEN_KEYS_MAX


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"keys": [{"id": 1}]}', b'{"keys": [{"id":"a","key":"AA==","made":1}]}']
)
def test_a_damaged_file_of_keys_stops_the_start_with_advice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEYS_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match="remove it"):
        House(tmp_path)


def test_a_token_from_before_a_new_password_is_not_renewed(house: House) -> None:
    grant = house.tokens.verify(house.token())
    house.stamps["ann"] = "hash of another password"
    with pytest.raises(TokenRefused, match="another password"):
        house.tokens.renew(grant)
    assert house.tokens.refused["user"] == 1
    _, fresh = house.tokens.renew(house.tokens.verify(house.token()))
    assert "hash" not in repr(fresh)
