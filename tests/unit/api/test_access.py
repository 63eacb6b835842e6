"""The gate before the API: the right password in, all else out, guessing slowed."""

import base64

import pytest

from mediaserver.api.access import MINUTE_NS, FailureLog, Gate, Verdict, password_in
from mediaserver.limits import API_FAILED_SOURCES_MAX, API_FAILURES_PER_SOURCE_PER_MIN

HERE, THERE = "192.0.2.1", "192.0.2.2"


def basic(password: str, user: str = "admin") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_the_right_password_passes_as_basic_and_as_bearer() -> None:
    gate = Gate("пароль:x")
    assert gate.check(basic("пароль:x"), HERE, 0) is Verdict.ALLOWED
    assert gate.check("Bearer пароль:x", HERE, 0) is Verdict.ALLOWED


def test_without_a_password_configured_nobody_passes() -> None:
    gate = Gate("")
    assert gate.check(basic(""), HERE, 0) is Verdict.DENIED
    assert gate.check("Bearer ", HERE, 0) is Verdict.DENIED


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic !!!", "Basic \u00e9", "Basic " + base64.b64encode(b"\xff:\xfe").decode(), "Digest x"],
)
def test_what_is_malformed_is_denied_and_never_raises(header: str | None) -> None:
    assert password_in(header) is None
    assert Gate("secret").check(header, HERE, 0) is Verdict.DENIED


def test_another_user_name_is_denied_even_with_the_password() -> None:
    assert Gate("secret").check(basic("secret", user="root"), HERE, 0) is Verdict.DENIED


def test_after_too_many_wrong_ones_even_the_right_one_waits_for_the_minute() -> None:
    gate = Gate("secret")
    for _ in range(API_FAILURES_PER_SOURCE_PER_MIN):
        assert gate.check(basic("wrong"), HERE, 0) is Verdict.DENIED
    assert gate.check(basic("secret"), HERE, MINUTE_NS - 1) is Verdict.SLOW_DOWN
    assert gate.retry_after_s(HERE, 0) == 61
    assert gate.check(basic("secret"), THERE, 0) is Verdict.ALLOWED
    assert gate.check(basic("secret"), HERE, MINUTE_NS) is Verdict.ALLOWED
    assert gate.failures_total == API_FAILURES_PER_SOURCE_PER_MIN


def test_a_browsers_first_request_without_credentials_is_no_guess() -> None:
    gate = Gate("secret")
    for _ in range(API_FAILURES_PER_SOURCE_PER_MIN + 1):
        assert gate.check(None, HERE, 0) is Verdict.DENIED
    assert gate.check(basic("secret"), HERE, 0) is Verdict.ALLOWED


def test_the_table_of_failures_is_bounded() -> None:
    gate = Gate("secret")
    for number in range(API_FAILED_SOURCES_MAX + 10):
        gate.check(basic("wrong"), f"source-{number}", 0)
    assert len(gate._failures) == API_FAILED_SOURCES_MAX


def test_failures_are_logged_so_many_a_minute_and_the_rest_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    log = FailureLog("sign-in failed", 3)
    for number in range(10):
        log.tell(number, source=HERE)
    log.tell(MINUTE_NS, source=THERE)
    log.tell(MINUTE_NS, source=HERE)
    lines = [line for line in capsys.readouterr().out.splitlines() if "sign-in failed" in line]
    assert len(lines) == 5
    assert "left_out=7" in lines[3]
    assert "left_out" not in lines[4]
