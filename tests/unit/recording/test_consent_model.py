"""The state machine against a clerk who knows only what was heard and said: no token too many, none too few."""

from tests.support.consent_model import run_script

SCRIPTS = 10_000  # benchmarks/consent.py runs a hundred thousand and more


def test_consent_and_clerk_agree_on_ten_thousand_random_calls() -> None:
    tokens = sum(run_script(seed) for seed in range(SCRIPTS))
    assert tokens > SCRIPTS / 5  # or the scripts would prove nothing
