"""The history of a benchmark: one JSON line a run in `benchmarks/history/NAME.jsonl`, never rewritten."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "history"


def append(name: str, figures: Mapping[str, object]) -> Path:
    """Adds `figures` under the time (UTC, to the second) and the machine they were taken on; returns the file."""
    FOLDER.mkdir(exist_ok=True)
    line: dict[str, Any] = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()} {platform.release()} {os.cpu_count()} cores",
        **figures,
    }
    file = FOLDER / f"{name}.jsonl"
    with file.open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")
    return file
