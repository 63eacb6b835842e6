"""What SRTP costs: nanoseconds to protect and to unprotect one packet, beside Debian's libsrtp2 in the same run.

    python benchmarks/srtp.py             prints a table
    python benchmarks/srtp.py --record    also appends a line to benchmarks/history/srtp.jsonl

Both get the same stretch of packets lying in memory one behind the other, so that a packet is as far away from the
cache as in a busy server. The peer is a C program built on the spot (needs a compiler and libsrtp2-dev).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from benchmarks._history import append
from mediaserver.ext.srtp_harness import stretch
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpProfile

HERE = Path(__file__).resolve().parent
PACKETS = 4_000
ROUNDS = 15  # the best of them: what the machine can do when nobody disturbs it
PAYLOADS = {"G.711, 20 ms": 160, "video": 1_100}
SHOWN = (SrtpProfile.AES_CM_128_HMAC_SHA1_80, SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM)
Pair = tuple[float, float]  # ns to protect, to unprotect


def ours(suite: int, payload_bytes: int) -> Pair:
    key = bytes(sum(SRTP_KEY_SALT_BYTES[list(SrtpProfile)[suite]]))
    return stretch(suite, key, payload_bytes, PACKETS)


def theirs(binary: Path, suite: int, payload_bytes: int) -> Pair:
    done = subprocess.run([binary, str(suite), str(payload_bytes), str(PACKETS)], capture_output=True, check=True)
    protect, unprotect = done.stdout.split()
    return float(protect), float(unprotect)


def best(rounds: list[Pair]) -> Pair:
    return min(protect for protect, _ in rounds), min(unprotect for _, unprotect in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append a line to benchmarks/history/srtp.jsonl")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "srtp"
        subprocess.run(["cc", "-O2", "-o", binary, HERE / "srtp.c", "-lsrtp2"], check=True)
        print(f"{'':34}{'ours':>16}{'libsrtp2':>18}    ns to protect, to unprotect")
        for profile in SHOWN:
            suite = list(SrtpProfile).index(profile)
            for name, payload_bytes in PAYLOADS.items():
                pairs = [(ours(suite, payload_bytes), theirs(binary, suite, payload_bytes)) for _ in range(ROUNDS)]
                us, them = best([a for a, _ in pairs]), best([b for _, b in pairs])
                print(f"{profile.value + ', ' + name:40}{us[0]:5.0f} {us[1]:5.0f}{them[0]:10.0f} {them[1]:6.0f}")
                results[f"{profile.value} {payload_bytes}"] = {
                    "protect_ns": us[0],
                    "unprotect_ns": us[1],
                    "libsrtp_protect_ns": them[0],
                    "libsrtp_unprotect_ns": them[1],
                }
    if options.record:
        append(
            "srtp",
            {
                "results": results,
            },
        )


if __name__ == "__main__":
    main()
