"""Digest on both sides of the wire: the example of RFC 7616, nonce life, replay, failures per source, algorithms."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from mediaserver.errors import ParseError
from mediaserver.sip import digest
from mediaserver.sip.auth import Authenticator, Credentials, FailureCounter, NonceKeeper, Verdict, make_credentials
from mediaserver.sip.auth_client import ClientCredentials, DigestClient
from mediaserver.sip.digest import MD5, SHA256, Answer

S = 1_000_000_000
T0 = 1_000 * S


def counting_entropy():
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


class Users(dict[str, Credentials]):
    def credentials(self, name: str) -> Credentials | None:
        return self.get(name)


def server(**settings) -> Authenticator:
    users = Users(alice=make_credentials("alice", "home", "s3cret"))
    return Authenticator("home", users, entropy=counting_entropy(), **settings)


def phone(password: str = "s3cret", user: str = "alice") -> DigestClient:
    return DigestClient(ClientCredentials(user, password), entropy=counting_entropy())


def ask(auth: Authenticator, lines=(), now=T0, source="192.0.2.1", method="REGISTER", **more):
    return auth.check(method, [v for _, v in lines], source=source, now_ns=now, **more)


def answered(auth: Authenticator, client: DigestClient, now=T0, **more):
    """Challenge fetched and taken: the header lines of the second request."""
    assert client.take(401, ask(auth, now=now, **more).challenges)
    return client.headers("REGISTER", "sip:home")


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_response_of_rfc_7616_section_3_9_1_is_computed(algorithm, expected):
    answer = Answer(
        username="Mufasa",
        realm="http-auth@example.org",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        uri="/dir/index.html",
        response="",
        algorithm=algorithm,
        qop="auth",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    secret = digest.ha1(algorithm, "Mufasa", answer.realm, "Circle of Life")
    assert digest.response_hex(answer, secret, "GET") == expected


def test_the_response_without_qop_is_that_of_rfc_2069():
    answer = Answer("Mufasa", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", "")
    secret = digest.ha1(MD5, "Mufasa", answer.realm, "Circle Of Life")
    # MD5("939e7578ed9e3c518a452acee763bce9:dcd98b…c093:39aff3a2bab6126f332b942af96d3366"), hashes of RFC 2617 §3.5
    assert secret == "939e7578ed9e3c518a452acee763bce9"
    assert digest.response_hex(answer, secret, "GET") == "670fd8c2df070c60b045671b8b24ff02"


def test_a_challenge_offers_sha_256_first_and_md5_second():
    challenges = ask(server()).challenges
    assert [digest.parse_challenge(c).algorithm for c in challenges] == [SHA256, MD5]
    assert all('realm="home"' in c and 'qop="auth"' in c for c in challenges)


def test_the_right_password_is_accepted_and_names_the_user():
    auth = server()
    result = ask(auth, answered(auth, phone()))
    assert result.verdict is Verdict.ACCEPTED
    assert result.user == "alice"


def test_a_client_that_knows_only_md5_is_accepted_by_the_second_challenge():
    auth, client = server(), phone()
    client.take(401, ask(auth).challenges[1:])
    lines = client.headers("REGISTER", "sip:home")
    assert "algorithm=MD5" in lines[0][1]
    assert ask(auth, lines).verdict is Verdict.ACCEPTED


def test_a_client_that_answers_both_challenges_is_accepted_by_the_first_that_holds():
    auth = server()
    challenges = ask(auth).challenges
    lines = []
    for challenge in challenges:
        client = phone()
        client.take(401, [challenge])
        lines += client.headers("REGISTER", "sip:home")
    assert len(lines) == 2
    assert ask(auth, lines).verdict is Verdict.ACCEPTED


def test_the_strongest_algorithm_is_answered_whatever_the_order():
    client = phone()
    client.take(401, reversed(ask(server()).challenges))
    assert "algorithm=SHA-256" in client.headers("REGISTER", "sip:home")[0][1]


def test_agents_known_to_choke_on_sha_256_get_md5_alone():
    result = ask(server(), user_agent="baresip v1.0.0 (x86_64/linux)")
    assert [digest.parse_challenge(c).algorithm for c in result.challenges] == [MD5]


def test_a_client_that_comes_back_without_credentials_is_offered_md5_alone_and_then_both_again():
    auth = server()
    offered = [len(ask(auth, claimed_user="alice").challenges) for _ in range(4)]
    assert offered == [2, 1, 2, 1]


def test_a_wrong_password_is_challenged_again_not_forbidden():
    auth = server()
    result = ask(auth, answered(auth, phone("wrong")))
    assert (result.verdict, result.failed, result.stale) == (Verdict.CHALLENGE, True, False)


def test_an_unknown_user_gets_the_same_answer_as_a_wrong_password():
    auth = server()
    wrong = ask(auth, answered(auth, phone("wrong")))
    unknown = ask(auth, answered(auth, phone(user="nobody")))
    assert [len(c) for c in wrong.challenges] == [len(c) for c in unknown.challenges]
    assert (wrong.verdict, wrong.failed, wrong.stale) == (unknown.verdict, unknown.failed, unknown.stale)


def test_an_unknown_user_costs_the_same_hashes_as_a_known_one(monkeypatch):
    auth = server()
    lines = {name: answered(auth, phone("wrong", name)) for name in ("alice", "nobody")}
    calls: list[str] = []
    real = digest.response_hex
    monkeypatch.setattr(digest, "response_hex", lambda *a: (calls.append(a[0].username), real(*a))[1])
    for name in lines:
        ask(auth, lines[name])
    assert calls == ["alice", "nobody"]


def test_credentials_stored_for_another_realm_are_not_accepted():
    users = Users(alice=make_credentials("alice", "elsewhere", "s3cret"))
    auth = Authenticator("home", users, entropy=counting_entropy())
    client = phone()
    client.take(401, ask(auth).challenges)
    assert ask(auth, client.headers("REGISTER", "sip:home")).verdict is Verdict.CHALLENGE


def test_a_response_made_for_another_method_is_refused():
    auth = server()
    lines = answered(auth, phone())
    assert ask(auth, lines, method="INVITE").failed


def test_the_same_request_a_second_time_is_a_replay_and_gets_a_fresh_nonce_as_stale():
    auth = server()
    lines = answered(auth, phone())
    assert ask(auth, lines).verdict is Verdict.ACCEPTED
    again = ask(auth, lines)
    assert (again.verdict, again.stale, again.failed) == (Verdict.CHALLENGE, True, False)


def test_a_nonce_serves_many_requests_with_rising_counts():
    auth, client = server(), phone()
    assert ask(auth, answered(auth, client)).verdict is Verdict.ACCEPTED
    for _ in range(100):
        assert ask(auth, client.headers("REGISTER", "sip:home")).verdict is Verdict.ACCEPTED


def test_counts_that_overtake_each_other_on_the_way_are_each_taken_once():
    auth, client = server(), phone()
    first = answered(auth, client)
    second = client.headers("REGISTER", "sip:home")
    assert ask(auth, second).verdict is Verdict.ACCEPTED
    assert ask(auth, first).verdict is Verdict.ACCEPTED
    assert ask(auth, first).stale


@pytest.mark.parametrize(("past_ns", "accepted"), [(-1, True), (0, False), (1, False)])
def test_a_nonce_lives_to_the_nanosecond(past_ns, accepted):
    auth = server(nonce_lifetime_s=300)
    lines = answered(auth, phone(), now=T0)
    result = ask(auth, lines, now=T0 + 300 * S + past_ns)
    assert (result.verdict is Verdict.ACCEPTED) is accepted
    assert result.stale is not accepted


def test_a_stale_nonce_is_followed_by_a_fresh_one_and_no_password_is_asked_again():
    auth, client = server(nonce_lifetime_s=300), phone()
    lines = answered(auth, client)
    later = T0 + 301 * S
    assert client.take(401, ask(auth, lines, now=later).challenges)
    assert ask(auth, client.headers("REGISTER", "sip:home"), now=later).verdict is Verdict.ACCEPTED


def test_a_nonce_of_the_server_before_its_restart_is_stale_when_the_password_is_right():
    before = server()
    lines = answered(before, phone())
    after = Authenticator("home", Users(alice=make_credentials("alice", "home", "s3cret")), entropy=lambda n: b"\7" * n)
    assert ask(after, lines).stale


def test_a_forged_nonce_is_never_accepted():
    keeper = NonceKeeper(300 * S, counting_entropy())
    nonce = keeper.issue(T0)
    assert keeper.issued_ns(nonce) == T0
    for forged in ("", "x", "!!", nonce[:-2], nonce[:-2] + "AA", "B" + nonce[1:], nonce + "AAAA", "é" * 43):
        assert keeper.issued_ns(forged) is None


def test_a_full_table_of_counts_forgets_no_replay():
    keeper = NonceKeeper(300 * S, counting_entropy(), rows_max=8)
    nonces = [keeper.issue(T0 + i) for i in range(30)]
    for i, nonce in enumerate(nonces):
        assert keeper.use(nonce, T0 + i, 1, T0 + 100)
    assert len(keeper) == 8
    assert not any(keeper.use(n, T0 + i, 1, T0 + 100) for i, n in enumerate(nonces))


def test_dead_nonces_leave_the_table():
    keeper = NonceKeeper(10 * S, counting_entropy())
    for i in range(1_000):
        now = T0 + i * S
        assert keeper.use(keeper.issue(now), now, 1, now)
    assert len(keeper) <= 11


def test_after_too_many_failures_a_source_hears_nothing_for_the_rest_of_the_minute_and_others_do():
    auth = server(failures_per_source_per_min=3)
    for _ in range(3):
        assert ask(auth, answered(auth, phone("wrong"))).failed
    good = phone()
    assert ask(auth).verdict is Verdict.SILENT
    assert ask(auth, now=T0 + 60 * S - 1).verdict is Verdict.SILENT
    assert ask(auth, answered(auth, phone(), source="192.0.2.2"), source="192.0.2.2").verdict is Verdict.ACCEPTED
    assert ask(auth, answered(auth, good, now=T0 + 60 * S), now=T0 + 60 * S).verdict is Verdict.ACCEPTED


def test_the_table_of_failing_sources_is_bounded():
    counter = FailureCounter(1, rows_max=4)
    for i in range(100):
        counter.add(f"192.0.2.{i}", T0)
    assert len(counter) == 4


def test_a_client_gives_up_when_its_fresh_answer_is_refused():
    auth, client = server(), phone("wrong")
    refused = ask(auth, answered(auth, client))
    assert not client.take(401, refused.challenges)


def test_a_client_keeps_401_and_407_apart():
    client = phone()
    client.take(401, ['Digest realm="a", nonce="1", qop="auth"'])
    client.take(407, ['Digest realm="b", nonce="2", qop="auth"'])
    assert [name for name, _ in client.headers("INVITE", "sip:x")] == ["Authorization", "Proxy-Authorization"]


def test_a_peer_that_offers_auth_int_alone_gets_the_body_hashed():
    client = phone()
    client.take(401, ['Digest realm="home", nonce="1", qop="auth-int", algorithm=SHA-256'])
    answer = digest.parse_answer(client.headers("INVITE", "sip:x", b"v=0")[0][1])
    assert answer.qop == "auth-int"
    secret = digest.ha1(SHA256, "alice", "home", "s3cret")
    assert answer.response == digest.response_hex(answer, secret, "INVITE", b"v=0")
    assert answer.response != digest.response_hex(answer, secret, "INVITE", b"v=1")


def test_quotes_commas_and_odd_spacing_survive_in_parameters():
    value = 'Digest  username="a\\"b\\\\c, d" ,realm = "x=1",\r\n nonce=abc,uri="sip:h", response="00" ,,'
    scheme, params = digest.parse_params(value)
    assert scheme == "digest"
    assert params == {"username": 'a"b\\c, d', "realm": "x=1", "nonce": "abc", "uri": "sip:h", "response": "00"}
    original = Answer('a"b\\c, d', "x=1", "abc", "sip:h", "00")
    assert digest.parse_answer(original.encode()) == replace(original)


@pytest.mark.parametrize(
    "value",
    [
        'Digest username="alice',
        "Digest username",
        'Digest realm="a", realm="b"',
        'Digest username="alice", realm="home"',
        "Digest " + "a" * 10_000,
        'Digest realm="a" nonce="b"',
    ],
)
def test_credentials_that_cannot_be_read_get_400(value):
    auth = server()
    with pytest.raises(ParseError):
        digest.parse_answer(value)
    assert auth.check("REGISTER", [value], source="192.0.2.1", now_ns=T0).verdict is Verdict.MALFORMED


def test_other_schemes_and_other_realms_are_as_good_as_no_credentials():
    auth = server()
    lines = [("", "Basic YWxpY2U6cw=="), ("", 'Digest username="a",realm="else",nonce="n",uri="u",response="r"')]
    result = ask(auth, lines)
    assert (result.verdict, result.failed) == (Verdict.CHALLENGE, False)


def test_no_secret_shows_in_a_repr():
    stored = make_credentials("alice", "home", "s3cret")
    assert stored.ha1_md5 not in repr(stored)
    assert stored.ha1_sha256 not in repr(stored)
    assert "s3cret" not in repr(ClientCredentials("alice", "s3cret"))


@pytest.mark.parametrize("name", ["", "a:b", "a@b", 'a"b', "a b", "a\r\nb", "<a>"])
def test_names_that_a_uri_or_a_digest_cannot_carry_are_refused(name):
    with pytest.raises(ValueError, match="user name"):
        make_credentials(name, "home", "pw")
