"""docs/conformance/sip-core.md names tests that exist; sip-transactions.md is drawn from the tables.

`python tests/unit/sip/test_conformance_page.py` draws it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from mediaserver.sip.machines import (
    INVITE_CLIENT,
    INVITE_CLIENT_TIMERS,
    INVITE_SERVER,
    INVITE_SERVER_TIMERS,
    NON_INVITE_CLIENT,
    NON_INVITE_CLIENT_TIMERS,
    NON_INVITE_SERVER,
    NON_INVITE_SERVER_TIMERS,
    EntryTimers,
    Table,
    Timer,
)

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "conformance" / "sip-core.md"
DRAWN = ROOT / "docs" / "conformance" / "sip-transactions.md"
MACHINES = [
    ("INVITE client (RFC 3261 figure 5, RFC 6026 §7.2)", INVITE_CLIENT, INVITE_CLIENT_TIMERS),
    ("Non-INVITE client (RFC 3261 figure 6)", NON_INVITE_CLIENT, NON_INVITE_CLIENT_TIMERS),
    ("INVITE server (RFC 3261 figure 7, RFC 6026 §7.1)", INVITE_SERVER, INVITE_SERVER_TIMERS),
    ("Non-INVITE server (RFC 3261 figure 8)", NON_INVITE_SERVER, NON_INVITE_SERVER_TIMERS),
]


def timer_text(timer: Timer | None) -> str:
    if timer is None:
        return "—"
    if timer.name == "keep":
        return "runs on"
    note = ", UDP only" if timer.only_udp else ""
    return f"{timer.name} ({timer.first_ns / 1e9:g} s{note})"


def drawn_machine(title: str, table: Table, timers: EntryTimers) -> list[str]:
    lines = [f"## {title}", "", "| state | repeats by | ends by |", "|---|---|---|"]
    for state, (repeat, end) in timers.items():
        lines.append(f"| {state.value} | {timer_text(repeat)} | {timer_text(end)} |")
    lines += ["", "| in state | on | does | then |", "|---|---|---|---|"]
    for state, rows in table.items():
        for event, (actions, after) in rows.items():
            does = ", ".join(action.replace("_", " ") for action in actions) or "—"
            lines.append(f"| {state.value} | {event} | {does} | {after.value} |")
    return [*lines, ""]


def drawn() -> str:
    lines = [
        "# SIP transactions",
        "",
        "Drawn from `mediaserver/sip/machines.py` by `python tests/unit/sip/test_conformance_page.py`. A timer's",
        "letter is also the event it makes. Times are first values; repeating ones double, up to 4 s but for timer A.",
        "",
    ]
    for machine in MACHINES:
        lines += drawn_machine(*machine)
    return "\n".join(lines)


def test_every_test_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 50
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_sip_*.py"))
    written += "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert named - set(re.findall(r"def (test_\w+)", written)) == set()


def test_the_page_of_tables_is_drawn_from_the_tables() -> None:
    assert DRAWN.read_text(encoding="utf-8") == drawn()


if __name__ == "__main__":
    DRAWN.write_text(drawn(), encoding="utf-8")
