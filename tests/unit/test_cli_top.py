"""`mediaserver top`: the worst call first, its course as bars, and a head that says how many are bad."""

import io

from rich.console import Console

from mediaserver.cli_top import Screen, sparkline, worst_of


def call(name: str, received: float | None, sent: float | None = None, started: float = 0.0) -> dict[str, object]:
    leg = {
        "id": "1", "role": "caller", "codec": "PCMU/8000", "mos_received": received, "mos_sent": sent,
        "mos_scale": "nb", "mos_worst": None if received is None else 2.13,
        "loss_fraction": 0.031, "jitter_ms": 12.0, "round_trip_ms": 80.0, "cause": "dead_air",
    }  # fmt: skip
    return {"id": name, "caller": "100", "called": "600", "started": started, "legs": [leg]}


def drawn(screen: Screen, calls: list[dict[str, object]], height: int = 20, width: int = 140) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen.render(calls, 95.0, height, width))
    return console.export_text().splitlines()


def test_the_worst_direction_of_the_worst_call_comes_first() -> None:
    lines = drawn(Screen(), [call("fine", 4.3), call("bad", 4.2, 1.9), call("new", None)])
    order = [line.split()[0] for line in lines[2:5]]
    assert order == ["1.90", "4.30", "-"]
    assert "to caller PCMU/8000" in lines[2]
    assert "3.1" in lines[2] and "12 ms" in lines[2] and "dead air" in lines[2] and "1:35" in lines[2]
    assert [line.split()[1] for line in lines[2:5]] == ["2.13", "2.13", "-"]
    assert "3 calls" in lines[0] and "1 below 3.6" in lines[0]


def test_nothing_is_worse_than_a_party_that_nobody_hears() -> None:
    silent = call("silent", None, 4.4)
    silent["legs"][0]["cause"] = "one_way"  # type: ignore[index]
    lines = drawn(Screen(), [call("bad", 1.2), silent, call("new", None)])
    assert [line.split()[0] for line in lines[2:5]] == ["-", "1.20", "-"]
    assert "one way" in lines[2]
    silent["legs"][0]["mos_received"] = 1.0  # type: ignore[index]
    assert worst_of(silent)[0] == 1.0  # type: ignore[arg-type]
    assert "2 below 3.6" in lines[0]


def test_the_course_is_one_bar_per_look() -> None:
    screen = Screen()
    for mos in (4.4, 3.2, 1.1, None):
        lines = drawn(screen, [call("a", mos)])
    assert "█▆▁·" in lines[2].replace("▇", "█").replace("▅", "▆")


def test_eighty_characters_hold_score_scale_course_parties_loss_and_cause_unbroken() -> None:
    screen, long = Screen(), call("20261128-065901-0123456789abcdef", 3.21)
    long |= {"caller": "+442071838750", "called": "+74951234567"}
    for _ in range(40):
        lines = drawn(screen, [long], width=80)
    assert lines[1].split() == ["MOS", "Low", "Course", "From", "To", "For", "Loss", "%", "Cause"]
    scored = ["3.21", "2.13", "nb", "▆" * 6]
    assert lines[2].split() == [*scored, "+442071838750", "+74951234567", "1:35", "3.1", "dead", "air"]
    assert max(map(len, lines)) <= 80


def test_what_does_not_fit_is_counted_and_what_ended_is_forgotten() -> None:
    screen = Screen()
    lines = drawn(screen, [call(f"c{n}", 4.0) for n in range(9)], height=4)
    assert "and 5 more" in lines[-1]
    drawn(screen, [])
    assert screen._seen == {}


def test_a_call_without_scores_is_nobodys_worst() -> None:
    assert worst_of(call("x", None))[0] is None  # type: ignore[arg-type]
    assert sparkline(__import__("collections").deque()).plain == ""
