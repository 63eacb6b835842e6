# Invariant: whatever a configuration file or an Authorization header holds, reading it ends with settings or
# ConfigError, with a password or none; never with another error, never with the planted secret in an error's text.
"""Fuzz of the configuration reader and of the API's gate.

python -m tests.fuzz.test_house 600 1    runs ten minutes from seed 1
"""

import base64
import random
import sys
import tempfile
import time
from pathlib import Path

from mediaserver.api.access import password_in
from mediaserver.errors import ConfigError
from mediaserver.settings import SHIPPED_CONFIG_DIR, Settings
from mediaserver.settings_file import load

SECRET = "planted-secret"
REAL = (SHIPPED_CONFIG_DIR / "mediaserver.toml").read_text(encoding="utf-8").replace("# ", "")
PIECES = (
    *REAL.splitlines(),
    f'admin_password = ["{SECRET}"]',
    f'password = {{ a = "{SECRET}" }}',
    "[trunks.x]",
    "[[trunks]]",
    "[sip.x]",
    "trunks = 5",
    "sip.udp_port = -1",
    'x = """',
    '"""',
    "media = []",
    "port_range = '99999-0'",
    "tones = 1979-05-27T07:32:00Z",
    "max_calls = 9223372036854775808",
    "interval_s = nan",
    "\x00",
    "\udc80",
)
HEADERS = (
    "Basic ",
    "basic",
    "Bearer ",
    "Basic YWRtaW46",
    "Basic " + base64.b64encode(b"admin:x").decode(),
    "Digest a=b",
)


def text(chance: random.Random) -> str:
    lines = [chance.choice(PIECES) for _ in range(chance.randrange(1, 12))]
    whole = "\n".join(lines)
    if chance.random() < 0.3:
        at = chance.randrange(len(whole) + 1)
        whole = whole[:at] + chr(chance.choice((0, 10, 34, 91, 93, 0x7F, 0x20AC, 0x1F600))) + whole[at:]
    return whole


def read_one(chance: random.Random, folder: Path) -> None:
    path = folder / "fuzzed.toml"
    path.write_bytes(text(chance).encode("utf-8", "surrogateescape"))
    variable = "MEDIASERVER_" + chance.choice(
        ("SIP__UDP_PORT", "X__Y", "TRUNKS__A__URI", "SIP", "__", "MEDIA__CODECS__X")
    )
    try:
        assert isinstance(load(path, {variable: chance.choice(("", "1", "[", "a,b", '["x"]'))}), Settings)
    except ConfigError as error:
        assert SECRET not in str(error)


def gate_one(chance: random.Random) -> None:
    header = chance.choice(HEADERS) + "".join(chr(chance.randrange(1, 0x2FF)) for _ in range(chance.randrange(12)))
    assert isinstance(password_in(header), str | None)


def fuzz(seed: int, rounds: int, until: float = float("inf")) -> int:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for done in range(rounds):
            read_one(chance, Path(folder))
            gate_one(chance)
            if time.monotonic() > until:
                return done
    return rounds


def test_any_configuration_is_read_or_refused() -> None:
    assert fuzz(seed=20_261_122, rounds=1_500) == 1_500


if __name__ == "__main__":
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    print(fuzz(seed, sys.maxsize, time.monotonic() + seconds), "rounds held")
