"""Consent against its model, for longer than a test may take: random calls, each judged by a clerk who knows the rules.

    python benchmarks/consent.py                    100,000 calls
    python benchmarks/consent.py --calls 1000000 --first 100000 --record

A difference ends the run with the seed that shows it. The figure is calls judged per second of CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.consent_model import run_script  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first call")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    began = time.process_time()
    tokens = sum(run_script(seed) for seed in range(options.first, options.first + options.calls))
    took = time.process_time() - began
    row = {
        "calls": options.calls,
        "first": options.first,
        "tokens": tokens,
        "calls_per_cpu_s": round(options.calls / took),
    }
    print(json.dumps(row))
    if options.record:
        append("consent", row)


if __name__ == "__main__":
    main()
